#include "nn/mlp.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "nn/ops/ops.h"

namespace isobath {

MlpImpl::MlpImpl(ModelConfig const& config) : gated(config.mlp == MlpKind::swiglu), eps(config.norm_eps) {
  int64_t const hidden = resolved_mlp_width(config);
  norm_D = register_parameter("norm", at::ones({config.width}));
  up_FD = register_parameter("up", at::empty({gated ? 2 * hidden : hidden, config.width}));
  down_DF = register_parameter("down", at::empty({config.width, hidden}));
}

at::Tensor MlpImpl::forward(at::Tensor const& x_RD) {
  at::Tensor const up_RX = updated_linear(ops::rms_norm(x_RD, norm_D, eps), up_FD, up_update);
  return updated_linear(gated ? ops::swiglu(up_RX) : ops::gelu(up_RX), down_DF, down_update);
}

void MlpImpl::add_low_rank(int64_t rank) {
  at::TensorOptions const like = up_FD.options().requires_grad(false);
  up_update = {register_parameter("up_down", at::zeros({rank, up_FD.size(1)}, like)),
               register_parameter("up_up", at::zeros({up_FD.size(0), rank}, like))};
  down_update = {register_parameter("down_down", at::zeros({rank, down_DF.size(1)}, like)),
                 register_parameter("down_up", at::zeros({down_DF.size(0), rank}, like))};
}

void MlpImpl::weights(std::string const& layer, InitialStd const& init, WeightList& list) const {
  list.constant(layer + "post_attention_layernorm.weight", norm_D, Role::vector, 1);
  int64_t const hidden = down_DF.size(1);
  if (gated) {
    list.fused(layer + "mlp.gate_up_proj.weight", up_FD, Role::matrix,
               {{layer + "mlp.gate_proj.weight", hidden, init.matrix}, {layer + "mlp.up_proj.weight", hidden, init.matrix}});
  } else {
    list.random(layer + "mlp.up_proj.weight", up_FD, Role::matrix, init.matrix);
  }
  list.random(layer + "mlp.down_proj.weight", down_DF, Role::matrix, init.residual);
  std::string const up = layer + "mlp.up_proj";
  list.low_rank(gated ? layer + "mlp.gate_up_proj" : up, up_update.down_KI, up_update.up_OK,
                gated ? LowRankParts{{layer + "mlp.gate_proj", hidden}, {up, hidden}} : LowRankParts{{up, hidden}});
  list.low_rank(layer + "mlp.down_proj", down_update.down_KI, down_update.up_OK, {{layer + "mlp.down_proj", down_DF.size(0)}});
}

}  // namespace isobath
