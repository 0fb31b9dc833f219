#include "data/shards/verified.h"

#include <sstream>

#include "core/error.h"

namespace isobath {

VerifiedFiles::VerifiedFiles(fs::path const& folder) : list_(folder / "verified") {
  std::error_code ignored;
  if (!fs::is_regular_file(list_, ignored)) return;
  std::istringstream lines(read_file(list_));
  for (std::string line; std::getline(lines, line);) known_.insert(line);
}

void VerifiedFiles::add(fs::path const& file) { changed_ |= known_.insert(entry(file)).second; }

void VerifiedFiles::save() const {
  if (!changed_) return;
  std::string text;
  for (std::string const& line : known_) text += line + "\n";
  try {
    write_file_atomic(list_, text);
  } catch (Error const&) {
  }
}

std::string VerifiedFiles::entry(fs::path const& file) { return file.filename().string() + " " + stamp_of(file).text(); }

}  // namespace isobath
