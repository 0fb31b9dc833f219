// The paper's router: a projection of the input (Raposo et al. 2024, section 3.2).

#include "nn/ops/ops.h"
#include "nn/router/scores.h"

namespace isobath {

at::Tensor linear_score(std::vector<at::Tensor> const& weights, RouterInput const& input) { return ops::row_dot(input.x_ND, weights[0]); }

}  // namespace isobath
