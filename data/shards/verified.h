#pragma once
// Which files of a folder have been compared with their checksums, for as long as neither their size nor their time changes.

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
  // Writes what was added. A folder that cannot be written to stays as it is: its files are compared again next time.
  void save() const;

 private:
  static std::string entry(fs::path const& file);  // name, size, time

  fs::path list_;
  std::set<std::string> known_;
  bool changed_ = false;
};

}  // namespace isobath
