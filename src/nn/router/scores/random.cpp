// Control: random scores, to measure what learned routing is worth.

#include "nn/ops/ops.h"
#include "nn/router/scores.h"

namespace isobath {

at::Tensor random_score(std::vector<at::Tensor> const&, RouterInput const& input) {
  return ops::random_normal(input.noise_key, noise_counters(input.rows), ops::wide_options(input.x_ND));
}

}  // namespace isobath
