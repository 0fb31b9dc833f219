#pragma once
// Values of single keys: from YAML, to YAML.

#include <optional>
#include <string>

#include "config/fields.h"
#include "config/tree.h"

namespace isobath {

struct WrongValue {
  Place place;
  std::string message;  // "'0' is too small (integer, 1 to 4096)"
};

// Puts `value` where `target` points, or says what is wrong with it.
std::optional<WrongValue> assign(Field const& field, FieldRef target, Tree const& value);
std::string format_value(Field const& field, FieldRef target);  // one line of YAML, reads back exactly

std::string format_percent(double share);
std::string unit_example(Unit unit);  // "500step"

// The word among `words` of which `word` is most likely a misspelling; empty when none is near.
std::string nearest(std::string_view word, std::vector<std::string> const& words);

}  // namespace isobath
