#pragma once
// Options with numbers. They are read as values of the configuration are (config/values.h): no octal, no hexadecimal, nothing that is cut
// or wraps round.

#include <string>

#include "config/fields.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace isobath {

struct NumberOption {
  std::string name;  // "-n,--max-tokens"
  std::string help;
  Kind kind = Kind::integer;                 // integer, count (64Ki), real, fraction (0.4 or 40%), or integer_list (128,2048)
  double min = 0, max = 9007199254740992.0;  // 2^53, as for the keys
};

// Adds an option whose value is put where `target` points, which has the default. `target` must outlive the parsing.
CLI::Option* add_number(CLI::App& command, FieldRef target, NumberOption const& option);

}  // namespace isobath
