#pragma once
// What must hold between keys.

#include <string>
#include <vector>

#include "config/config.h"

namespace isobath {

struct Contradiction {
  std::vector<std::string> paths;  // the keys involved, the one to point at first
  std::string message;
};

std::vector<Contradiction> find_contradictions(Config const& config);
std::vector<Contradiction> find_depth_contradictions(Config const& config);  // of these, within `depth`

}  // namespace isobath
