#pragma once
// Which files a list of sources means.

#include <cstdint>
#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

struct SourceFile {
  fs::path path;
  int64_t bytes = 0;     // on disk
  int64_t modified = 0;  // nanoseconds
  bool named = false;    // named directly, so taken even when it looks binary
  bool header = false;   // of libtorch-headers, so left out when it is generated
};

// A source is a file, a folder (every file below it whose name does not start with '.'), a glob (*, ?, [], ** for any folders) or
// "libtorch-headers". The order is that of the sources, sorted by relative path within one. Throws Error(data) naming a source without
// files.
std::vector<SourceFile> list_sources(std::vector<std::string> const& sources);

}  // namespace isobath
