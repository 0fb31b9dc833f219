#pragma once
// Finds the files that a list of text sources stands for.

#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

struct SourceFile {
  fs::path path;
  FileStamp stamp;
  bool named = false;   // a source names this file itself, so it is an error when it is no text
  bool header = false;  // belongs to libtorch-headers, so it is left out when it is generated code
};

// A source is a file, a folder (every file below it whose name does not start with '.'), a glob (*, ?, [], ** for any folders) or
// "libtorch-headers". Links are followed, each folder is looked into once. Files keep the order of the sources and are sorted by relative
// path within each. Throws Error(data) naming a source without files, a folder that cannot be read, a link to nothing, and what is no
// regular file: a pipe or a device.
std::vector<SourceFile> list_sources(std::vector<std::string> const& sources);

}  // namespace isobath
