#pragma once
// What share of each sequence the routed layers let through: as configured, and at each step of training. No LibTorch.

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"

namespace isobath {

// One share a routed layer, first to last: depth.capacity stretched evenly over them, linear between its entries; of a nested model the
// planned share of tokens that go on.
std::vector<double> layer_capacities(ModelConfig const&, DepthConfig const&);
std::string capacity_text(DepthConfig const&);  // "12.5 %", "50 to 12.5 %"

bool capacity_changes(DepthConfig const&);  // a warm-up or random capacity
bool steps_differ(DepthConfig const&);      // that, or all layers run at first
// Of step `step` (from 0), which begins when the share `progress` of the run is done; a pure function. Random capacity (as in CoTFormer,
// Mohtashami et al. 2023) draws one share for all layers, uniformly; the warm-up falls linearly from 1.
std::vector<double> step_capacities(ModelConfig const&, DepthConfig const&, uint64_t seed, int64_t step, double progress);
// What training lets through once a warm-up is over; all of a nested model whose branches are compared in hindsight.
std::vector<double> training_capacities(ModelConfig const&, DepthConfig const&);
// The most that a step of training asks for.
std::vector<double> most_capacities(ModelConfig const&, DepthConfig const&);

}  // namespace isobath
