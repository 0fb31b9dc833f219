#pragma once
// The feed-forward half of a transformer block, row by row.

#include <torch/nn/module.h>

#include "config/config.h"
#include "nn/low_rank.h"
#include "nn/weight_list.h"

namespace isobath {

// Pre-norm feed-forward: down(swiglu(gate_up(norm(x)))) or down(gelu(up(norm(x)))).
struct MlpImpl : torch::nn::Module {
  explicit MlpImpl(ModelConfig const& config);
  at::Tensor forward(at::Tensor const& x_RD);
  void add_low_rank(int64_t rank);  // updates of its matrices
  void weights(std::string const& layer, InitialStd const& init, WeightList& list) const;

  bool gated;
  double eps;
  at::Tensor norm_D, up_FD, down_DF;  // gated: up_FD stacks gate and up, [2F, D]
  LowRankUpdate up_update, down_update;
};

}  // namespace isobath
