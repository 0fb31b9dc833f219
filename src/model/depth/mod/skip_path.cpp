#include "model/depth/mod/skip_path.h"

#include <ATen/ops/empty.h>

#include <cmath>

#include "nn/ops/ops.h"

namespace isobath {

SkipPathImpl::SkipPathImpl(ModelConfig const& model, DepthConfig const& depth) {
  bool const full = depth.skip_path == SkipPath::linear;
  int64_t const rank = full ? model.width : resolved_skip_rank(model, depth);
  if (!full) down_XD = register_parameter("down", at::empty({rank, model.width}));
  up_DX = register_parameter("up", at::empty({model.width, rank}));
}

at::Tensor SkipPathImpl::forward(at::Tensor const& x_RD) {
  at::Tensor const normed_RD = ops::unit_rms(x_RD);
  return ops::linear(down_XD.defined() ? ops::linear(normed_RD, down_XD) : normed_RD, up_DX);
}

// Starts as the identity: what is added is zero.
void SkipPathImpl::weights(std::string const& layer, WeightList& list) const {
  if (down_XD.defined())
    list.random(layer + "skip.down.weight", down_XD, Role::matrix, 1 / std::sqrt(static_cast<double>(down_XD.size(1))));
  list.constant(layer + "skip.up.weight", up_DX, Role::matrix, 0);
}

}  // namespace isobath
