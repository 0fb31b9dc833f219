#pragma once
// Remembers which files of a folder matched their checksums. An entry holds until the file's stamp changes.

#include <filesystem>
#include <set>
#include <string>

#include "core/files.h"

namespace isobath {

class VerifiedFiles {
 public:
  explicit VerifiedFiles(fs::path const& folder);  // reads what an earlier process wrote to FOLDER/verified
  bool contains(fs::path const& file) const { return known_.contains(entry(file)); }
  void add(fs::path const& file);
  // Writes the list. When the folder cannot be written to, nothing happens, and the files are compared again next time.
  void save() const;

 private:
  static std::string entry(fs::path const& file);  // name and stamp

  fs::path list_;
  std::set<std::string> known_;
  bool changed_ = false;
};

}  // namespace isobath
