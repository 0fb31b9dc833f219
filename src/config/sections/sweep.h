#pragma once
// Budgets, sizes, devices and tuning of `compare`: what must hold between them.

#include <string>
#include <vector>

#include "config/contradiction.h"
#include "config/sections/compare.h"

namespace isobath {

void check_sweep(CompareConfig const& compare, std::vector<Contradiction>& found);
void check_tune(CompareConfig const& compare, std::vector<Contradiction>& found);
// What is wrong with a match of arms of which one or both have sizes, as the end of a sentence about `target`; empty: nothing.
std::string why_no_size_to_match(ArmConfig const& arm, ArmConfig const& target);

}  // namespace isobath
