// Control: the root mean square of the input. It has no parameters and no gradient: otherwise the model could raise a token's score by
// making its hidden state larger.

#include <ATen/TensorOperators.h>

#include "nn/ops/ops.h"
#include "nn/router/scores.h"

namespace isobath {

at::Tensor norm_score(std::vector<at::Tensor> const&, RouterInput const& input) {
  at::Tensor const x_ND = input.x_ND.detach();
  return x_ND.to(ops::wide_options(x_ND)).square().mean(1).sqrt();
}

}  // namespace isobath
