// Control: a learned score of each token of the vocabulary. Is the token's identity all that a router needs to know?

#include "nn/ops/ops.h"
#include "nn/router/scores.h"

namespace isobath {

at::Tensor token_score(std::vector<at::Tensor> const& weights, RouterInput const& input) {
  return ops::look_up(weights[0], input.tokens_N);
}

}  // namespace isobath
