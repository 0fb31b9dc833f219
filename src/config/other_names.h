#pragma once
// Names that people know from other trainers.

#include <string>
#include <string_view>
#include <vector>

namespace isobath {

// What stands for `name` here: "train.lr", "model.context (tokens)", or why there is nothing of the kind; empty for a name that is not
// known. Takes the last part of a dotted name, in any case.
std::string known_elsewhere(std::string_view name);
std::vector<std::string> names_elsewhere();  // all that are known
// The key that a name without its section, or with another spelling, most likely means: "train.lr" for "lr" or "learning_rate"; empty when
// there is none.
std::string key_meant_by(std::string_view name);

}  // namespace isobath
