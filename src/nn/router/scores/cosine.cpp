// Scores the direction of the input alone: its normalised projection on a normalised vector, as in cosine routers of mixtures of experts
// (Chi et al. 2022, section 3.2), scaled so that a random direction scores about a standard normal number.

#include <ATen/TensorOperators.h>

#include <cmath>

#include "nn/ops/ops.h"
#include "nn/router/scores.h"

namespace isobath {

at::Tensor cosine_score(std::vector<at::Tensor> const& weights, RouterInput const& input) {
  at::Tensor const direction_D = ops::unit_rms(weights[0].unsqueeze(0)).squeeze(0);
  return ops::row_dot(ops::unit_rms(input.x_ND), direction_D) / std::sqrt(static_cast<double>(direction_D.numel()));
}

}  // namespace isobath
