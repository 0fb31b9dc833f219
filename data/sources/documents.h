#pragma once
// Documents in the source files. A file of plain text is one document; in JSON Lines and JSON files each row is one (json_rows.h).

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "data/sources/sources.h"

namespace isobath {

struct ReadCounts {
  int64_t files = 0, packed_files = 0, documents = 0, bytes = 0;
  int64_t binary_files = 0;     // left out: no text, and no source names them directly
  int64_t generated_files = 0;  // left out: generated headers of libtorch-headers
  int64_t json_texts = 0;       // .json files found in folders that hold no rows, and are documents as they are
  int64_t rows_as_text = 0;     // files of JSON rows whose names say otherwise: documents as they are, with a warning
  int64_t bad_rows = 0;         // left out, as data.bad_rows says
  std::string first_binary_file, first_rows_as_text;
  std::vector<std::string> first_bad_rows;  // what is wrong with them
};

// Calls `sink` for every document that is not empty, in order. Throws Error(data): unreadable file, one that a source names and that is no
// text, and, where data.bad_rows is stop, a row without text (naming file:line).
ReadCounts read_documents(std::vector<SourceFile> const& files, DataConfig const& config,
                          std::function<void(std::string_view text, SourceFile const& file)> const& sink);

// Logs how much was read and what was left out. kind: "" or "validation ".
void log_counts(ReadCounts const& counts, std::string const& kind);

// Counts the files that read_documents would read, looking only at the first bytes of each; `bytes` are sizes on disk.
ReadCounts count_files(std::vector<SourceFile> const& files);

}  // namespace isobath
