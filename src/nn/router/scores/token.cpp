// Control: a learned score for each token of the vocabulary, to test whether a router needs more than the token's identity.

#include "nn/ops/ops.h"
#include "nn/router/scores.h"

namespace isobath {

at::Tensor token_score(std::vector<at::Tensor> const& weights, RouterInput const& input) {
  return ops::look_up(weights[0], input.tokens_N);
}

}  // namespace isobath
