#pragma once
// YAML as a small tree that remembers where everything stands, and the problems found on the way.

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
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

struct Tree {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  Place place;
  std::string text;  // of a scalar
  bool quoted = false;
  bool refused = false;  // an alias: reported already, nothing more to say about its key
  std::vector<Tree> items;                     // of a list
  std::vector<std::pair<Tree, Tree>> entries;  // of a map, duplicates included; keys are scalars
};

// Reads `text` as one YAML document of plain maps, lists and scalars. What goes beyond (anchors, tags, merge keys, a second
// document, tabs in the indentation, bytes that are no UTF-8) is a problem. `first_column` shifts places on line 1.
Tree parse_tree(std::string const& text, std::shared_ptr<Source const> source, Problems& problems, int first_column = 1);

std::vector<std::string> split_lines(std::string_view text);
std::string quoted_text(std::string_view text);   // a YAML double-quoted scalar
std::string yaml_text(std::string_view text);     // plain where that reads back as the same text, else quoted
std::string yaml_flow(Tree const& tree);          // one line that parses back to the same tree
bool is_null_word(std::string_view text);

}  // namespace isobath
