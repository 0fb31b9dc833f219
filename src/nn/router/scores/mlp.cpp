// A hidden layer with SiLU, without biases.

#include <ATen/ops/silu.h>

#include "nn/ops/ops.h"
#include "nn/router/scores.h"

namespace isobath {

at::Tensor mlp_score(std::vector<at::Tensor> const& weights, RouterInput const& input) {
  return ops::row_dot(at::silu(ops::linear(input.x_ND, weights[0])), weights[1]);
}

}  // namespace isobath
