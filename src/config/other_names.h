#pragma once
// Names that people know from other trainers.

#include <string>
#include <string_view>

namespace isobath {

// What stands for `name` here: "train.lr", "model.context (tokens)", or why there is nothing of the kind; empty for a name that is not
// known. Takes the last part of a dotted name, in any case.
std::string known_elsewhere(std::string_view name);

}  // namespace isobath
