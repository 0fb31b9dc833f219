#pragma once
// Where something stands in a file or on the command line, and what is wrong there.

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace isobath {

struct Source {
  std::string label;               // "configs/quickstart.yaml", "command line"
  std::vector<std::string> lines;  // may be empty: then problems show no source line
  bool numbered = true;            // places read label:line:column
};

struct Place {
  std::shared_ptr<Source const> source;
  int line = 1, column = 1;  // 1-based, columns in bytes
  std::string text() const;  // "quickstart.yaml:8:12" (column in characters)
};

// Complete messages in the order of their places; a hundred are enough.
class Problems {
 public:
  void add(Place const& place, std::string const& message);
  void add(std::string const& complete) { add(Place{}, complete); }
  bool empty() const { return found_.empty(); }
  bool is_plenty() const { return found_.size() > most_shown; }  // more are counted, not shown
  std::vector<std::string> sorted() const;
  void throw_if_any() const;

 private:
  static constexpr size_t most_shown = 100;
  struct Found {
    Place place;
    std::string text;
  };
  std::vector<Found> found_;
  std::set<std::string> known_;  // the same thing is said once
  size_t not_kept_ = 0;
};

std::vector<std::string> split_lines(std::string_view text);

}  // namespace isobath
