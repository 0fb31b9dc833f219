#pragma once
// Documents of the source files: a whole file each, or a row of a .jsonl file.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/sources/sources.h"

namespace isobath {

struct ReadCounts {
  int64_t files = 0, documents = 0, bytes = 0;
  int64_t binary_files = 0;     // left out: they look binary, and no source names them directly
  int64_t generated_files = 0;  // left out: generated headers of libtorch-headers
};

// Calls `sink` for every document that is not empty, in order. Throws Error(data): unreadable file, or a .jsonl row without text (naming
// file:line).
ReadCounts read_documents(std::vector<SourceFile> const& files, std::string const& text_key,
                          std::function<void(std::string_view text, SourceFile const& file)> const& sink);

// Counts the files that read_documents would read, looking only at the first bytes of each; `bytes` are sizes on disk.
ReadCounts count_files(std::vector<SourceFile> const& files);

}  // namespace isobath
