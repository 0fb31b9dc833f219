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
  int64_t binary_files = 0;     // met in a folder, look binary: left out
  int64_t generated_files = 0;  // of libtorch-headers: left out
};

// Calls `sink` for every document that is not empty, in order. Throws Error(data): unreadable file, or a .jsonl row without text (naming
// file:line).
ReadCounts read_documents(std::vector<SourceFile> const& files, std::string const& text_key,
                          std::function<void(std::string_view text, SourceFile const& file)> const& sink);

// Files that would be read, without reading more than their beginnings; `bytes` are those on disk.
ReadCounts count_files(std::vector<SourceFile> const& files);

}  // namespace isobath
