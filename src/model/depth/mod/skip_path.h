#pragma once
#include <torch/nn/module.h>

#include "config/config.h"
#include "nn/weight_list.h"

namespace isobath {

// The map whose output is added to the tokens that a routed block skips: linear in their normalised hidden state, full (up_DX square) or of
// low rank.
struct SkipPathImpl : torch::nn::Module {
  SkipPathImpl(ModelConfig const& model, DepthConfig const& depth);
  at::Tensor forward(at::Tensor const& x_RD);
  void weights(std::string const& layer, WeightList& list) const;

  at::Tensor down_XD, up_DX;  // down_XD is undefined for the full map
};

}  // namespace isobath
