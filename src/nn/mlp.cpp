#include "nn/mlp.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>

#include "nn/ops/ops.h"

namespace isobath {

MlpImpl::MlpImpl(ModelConfig const& config) : gated(config.mlp == MlpKind::swiglu), eps(config.norm_eps) {
  int64_t const hidden = resolved_mlp_width(config);
  norm_D = register_parameter("norm", at::ones({config.width}));
  up_FD = register_parameter("up", at::empty({gated ? 2 * hidden : hidden, config.width}));
  down_DF = register_parameter("down", at::empty({config.width, hidden}));
}

at::Tensor MlpImpl::forward(at::Tensor const& x_RD) {
  at::Tensor const up_RX = ops::linear(ops::rms_norm(x_RD, norm_D, eps), up_FD);
  return ops::linear(gated ? ops::swiglu(up_RX) : ops::gelu(up_RX), down_DF);
}

void MlpImpl::weights(std::string const& layer, InitialStd const& init, WeightList& list) const {
  list.constant(layer + "post_attention_layernorm.weight", norm_D, Role::vector, 1);
  if (gated) {
    int64_t const hidden = up_FD.size(0) / 2;
    list.fused(layer + "mlp.gate_up_proj.weight", up_FD, Role::matrix,
               {{layer + "mlp.gate_proj.weight", hidden, init.matrix}, {layer + "mlp.up_proj.weight", hidden, init.matrix}});
  } else {
    list.random(layer + "mlp.up_proj.weight", up_FD, Role::matrix, init.matrix);
  }
  list.random(layer + "mlp.down_proj.weight", down_DF, Role::matrix, init.residual);
}

}  // namespace isobath
