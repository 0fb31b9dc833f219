#pragma once
// The checks of what must hold between keys.

#include <vector>

#include "config/config.h"
#include "config/contradiction.h"

namespace isobath {

std::vector<Contradiction> find_contradictions(Config const& config, std::vector<ConfigCheck> const& extra_checks = {});

}  // namespace isobath
