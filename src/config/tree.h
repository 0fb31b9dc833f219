#pragma once
// YAML as a small tree that remembers where everything stands.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/problems.h"

namespace isobath {

struct TreeEntry;

struct Tree {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  Place place;
  std::string text;  // of a scalar
  bool quoted = false;
  bool refused = false;            // an alias: reported already, nothing more to say about its key
  std::vector<Tree> items;         // of a list
  std::vector<TreeEntry> entries;  // of a map, duplicates included
};

struct TreeEntry {
  Tree key;  // a scalar
  Tree value;
};

// Reads `text` as one YAML document of plain maps, lists and scalars. What goes beyond (anchors, tags, merge keys, a
// second document, tabs in the indentation, bytes that are no UTF-8) is a problem. `first_column` shifts places on
// line 1.
Tree parse_tree(std::string const& text, std::shared_ptr<Source const> const& source, Problems& problems, int first_column = 1);

std::string quoted_text(std::string_view text);  // a YAML double-quoted scalar
std::string yaml_text(std::string_view text);    // plain where that reads back as the same text, else quoted
std::string yaml_flow(Tree const& tree);         // one line that parses back to the same tree
bool is_null_word(std::string_view text);

}  // namespace isobath
