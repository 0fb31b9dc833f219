// Control: a learned score for each position, to test whether a router needs more than the position.

#include "nn/ops/ops.h"
#include "nn/router/scores.h"

namespace isobath {

at::Tensor position_score(std::vector<at::Tensor> const& weights, RouterInput const& input) {
  return ops::look_up(weights[0], input.rows.positions_R);
}

}  // namespace isobath
