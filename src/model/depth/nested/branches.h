#pragma once
// The branches of a nested model: depths that tokens may stop at, and how many are planned to. No LibTorch.

#include <cstdint>
#include <vector>

#include "config/config.h"

namespace isobath {

// depth.exits and the last layer, ascending; each a number of layers.
std::vector<int64_t> branch_depths(ModelConfig const&, DepthConfig const&);
// Planned shares of the branches: alike, or where depth.mean_depth is given the distribution p_b ~ exp(mu d_b) of that mean.
std::vector<double> branch_shares(ModelConfig const&, DepthConfig const&);
double planned_mean_depth(ModelConfig const&, DepthConfig const&);  // of scaled models, too

// Routers at the exits pick the tokens that go on, instead of a network that gives every token its branch.
bool is_expert_choice(DepthConfig const&);
// The layer whose weights layer `layer` uses: with depth.recursion, behind the second exit, one of the first stack behind the first.
int64_t layer_of_weights(DepthConfig const&, int64_t layer);

}  // namespace isobath
