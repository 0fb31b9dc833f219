#pragma once
// Finds the files that a list of text sources stands for.

#include <cstdint>
#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

struct SourceFile {
  fs::path path;
  int64_t bytes = 0;     // on disk
  int64_t modified = 0;  // nanoseconds
  bool named = false;    // a source names this file itself, so it is read even when it looks binary
  bool header = false;   // belongs to libtorch-headers, so it is left out when it is generated code
};

// A source is a file, a folder (every file below it whose name does not start with '.'), a glob (*, ?, [], ** for any folders) or
// "libtorch-headers". Files keep the order of the sources and are sorted by relative path within each. Throws Error(data) naming a source
// without files.
std::vector<SourceFile> list_sources(std::vector<std::string> const& sources);

}  // namespace isobath
