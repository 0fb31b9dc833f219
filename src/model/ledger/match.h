#pragma once
// Grows or shrinks an arm until a forward pass costs what another's does. No LibTorch.

#include "config/config.h"

namespace isobath {

// Changes `model.layers` (when adjust is "layers"), then `model.mlp_width` (any whole number), so that
// planned forward FLOPs (a full context, top-k) come within 0.5 % of `target_flops`; picks the layer count that needs
// the smallest change of mlp_width. Throws Error(config) when nothing comes that near, naming the nearest.
ModelConfig match_forward_flops(ModelConfig model, DepthConfig const& depth, int64_t vocab_size, int64_t target_flops,
                                MatchConfig const& match);

}  // namespace isobath
