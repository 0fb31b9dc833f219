#pragma once
// Settings are tested in pairs where every combination would take too long: what two settings do to each other shows in a pair.

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace isobath::test {

using SettingsRows = std::vector<std::vector<std::string>>;  // a row a model, a column a setting

inline std::set<std::pair<std::string, std::string>> pairs(SettingsRows const& rows, size_t a, size_t b) {
  std::set<std::pair<std::string, std::string>> found;
  for (auto const& row : rows) found.emplace(row.at(a), row.at(b));
  return found;
}

// Each value of column a stands beside each value of column b.
inline bool has_every_pair(SettingsRows const& rows, size_t a, size_t b) {
  return pairs(rows, a, b).size() == pairs(rows, a, a).size() * pairs(rows, b, b).size();
}

}  // namespace isobath::test
