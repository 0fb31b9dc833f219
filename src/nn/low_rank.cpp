#include "nn/low_rank.h"

#include <ATen/TensorOperators.h>

#include "nn/ops/ops.h"

namespace isobath {

LowRankUpdate LowRankUpdate::of_outputs(int64_t first, int64_t count) const {
  return up_OK.defined() ? LowRankUpdate{down_KI, up_OK.narrow(0, first, count)} : *this;
}

at::Tensor updated_linear(at::Tensor const& x_RI, at::Tensor const& weight_OI, LowRankUpdate const& update) {
  at::Tensor const y_RO = ops::linear(x_RI, weight_OI);
  return update.up_OK.defined() ? y_RO + ops::linear(ops::linear(x_RI, update.down_KI), update.up_OK) : y_RO;
}

}  // namespace isobath
