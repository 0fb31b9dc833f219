#pragma once
// How deep the arrays and objects of a JSON text nest.

#include <cstddef>
#include <string_view>

namespace isobath {

constexpr int deepest_json = 128;

// nlohmann's copies and print-outs of a value call themselves once a level: a text that nests deeper must be refused before.
inline bool nests_too_deep(std::string_view json) {
  int depth = 0;
  bool in_text = false;
  for (size_t i = 0; i < json.size(); ++i) {
    char const c = json[i];
    if (in_text && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_text = !in_text;
    } else if (!in_text && (c == '[' || c == '{')) {
      if (++depth > deepest_json) return true;
    } else if (!in_text && (c == ']' || c == '}')) {
      --depth;
    }
  }
  return false;
}

}  // namespace isobath
