#pragma once
// Budgets, sizes, devices and tuning of `compare`: what must hold between them.

#include <string>
#include <vector>

#include "config/contradiction.h"
#include "config/sections/compare.h"

namespace isobath {

void check_sweep(CompareConfig const& compare, std::vector<Contradiction>& found);
void check_tune(CompareConfig const& compare, std::vector<Contradiction>& found);
// Why `arm` cannot be matched to `target` where one or both have sizes, worded to follow the target's name in a sentence; empty where it
// can.
std::string why_no_size_to_match(ArmConfig const& arm, ArmConfig const& target);

}  // namespace isobath
