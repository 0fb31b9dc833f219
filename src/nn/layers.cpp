#include "nn/layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>

#include "nn/attention/kv_cache.h"
#include "nn/ops/ops.h"

namespace isobath {

AttentionImpl::AttentionImpl(ModelConfig const& config)
    : heads(config.heads), kv_heads(config.kv_heads), head_dim(config.width / config.heads), eps(config.norm_eps) {
  norm_D = register_parameter("norm", at::ones({config.width}));
  qkv_XD = register_parameter("qkv", at::empty({(heads + 2 * kv_heads) * head_dim, config.width}));
  o_DX = register_parameter("o", at::empty({config.width, heads * head_dim}));
  if (config.qk_norm) {
    q_norm_E = register_parameter("q_norm", at::ones({head_dim}));
    k_norm_E = register_parameter("k_norm", at::ones({head_dim}));
  }
}

at::Tensor AttentionImpl::forward(at::Tensor const& x_RD, Rows const& rows, RotaryTables const& rotary) {
  at::Tensor const qkv_RX = ops::linear(ops::rms_norm(x_RD, norm_D, eps), qkv_XD);
  at::Tensor q_RHE, k_RGE, v_RGE;
  if (q_norm_E.defined()) {
    auto const parts = qkv_RX.split_with_sizes({heads * head_dim, kv_heads * head_dim, kv_heads * head_dim}, 1);
    q_RHE =
        ops::rotary(ops::rms_norm(parts[0].unflatten(1, {heads, head_dim}), q_norm_E, eps), rows.positions_R, rotary.cos_TE, rotary.sin_TE);
    k_RGE = ops::rotary(ops::rms_norm(parts[1].unflatten(1, {kv_heads, head_dim}), k_norm_E, eps), rows.positions_R, rotary.cos_TE,
                        rotary.sin_TE);
    v_RGE = parts[2].unflatten(1, {kv_heads, head_dim});
  } else {
    std::tie(q_RHE, k_RGE, v_RGE) = ops::split_rotary(qkv_RX, heads, kv_heads, head_dim, rows.positions_R, rotary.cos_TE, rotary.sin_TE);
  }
  if (rows.cache) rows.cache->append(k_RGE, v_RGE, rows);
  return ops::linear(rows.continues ? rows.cache->attend(q_RHE, rows) : ops::attend(q_RHE, k_RGE, v_RGE, rows), o_DX);
}

at::Tensor AttentionImpl::forward_among_all(at::Tensor const& x_ND, Rows const& rows, at::Tensor const& index_R, Rows const& selected,
                                            RotaryTables const& rotary) {
  at::Tensor const normed_ND = ops::rms_norm(x_ND, norm_D, eps);
  int64_t const q_width = heads * head_dim;
  at::Tensor q_RHE = ops::linear(ops::gather_rows(normed_ND, index_R), qkv_XD.narrow(0, 0, q_width)).unflatten(1, {heads, head_dim});
  if (q_norm_E.defined()) q_RHE = ops::rms_norm(q_RHE, q_norm_E, eps);
  q_RHE = ops::rotary(q_RHE, selected.positions_R, rotary.cos_TE, rotary.sin_TE);
  auto const [k_NGE, v_NGE] = keys_and_values(normed_ND, rows, rotary);
  if (rows.cache) rows.cache->append(k_NGE, v_NGE, rows);
  return ops::linear(
      rows.continues ? rows.cache->attend(q_RHE, selected) : ops::attend_among_all(q_RHE, k_NGE, v_NGE, rows, index_R, selected), o_DX);
}

std::pair<at::Tensor, at::Tensor> AttentionImpl::keys_and_values(at::Tensor const& normed_ND, Rows const& rows,
                                                                 RotaryTables const& rotary) const {
  at::Tensor const weight_XD = qkv_XD.narrow(0, heads * head_dim, 2 * kv_heads * head_dim);
  auto const kv = ops::linear(normed_ND, weight_XD).unflatten(1, {2 * kv_heads, head_dim}).chunk(2, 1);
  at::Tensor const k_NGE = k_norm_E.defined() ? ops::rms_norm(kv[0], k_norm_E, eps) : kv[0];
  return {ops::rotary(k_NGE, rows.positions_R, rotary.cos_TE, rotary.sin_TE), kv[1]};
}

void AttentionImpl::store(at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary) {
  auto const [k_NGE, v_NGE] = keys_and_values(ops::rms_norm(x_ND, norm_D, eps), rows, rotary);
  rows.cache->append(k_NGE, v_NGE, rows);
}

MlpImpl::MlpImpl(ModelConfig const& config) : gated(config.mlp == "swiglu"), eps(config.norm_eps) {
  int64_t const hidden = resolved_mlp_width(config);
  norm_D = register_parameter("norm", at::ones({config.width}));
  up_FD = register_parameter("up", at::empty({gated ? 2 * hidden : hidden, config.width}));
  down_DF = register_parameter("down", at::empty({config.width, hidden}));
}

at::Tensor MlpImpl::forward(at::Tensor const& x_RD) {
  at::Tensor const up_RX = ops::linear(ops::rms_norm(x_RD, norm_D, eps), up_FD);
  return ops::linear(gated ? ops::swiglu(up_RX) : ops::gelu(up_RX), down_DF);
}

SkipPathImpl::SkipPathImpl(ModelConfig const& model, DepthConfig const& depth) {
  bool const full = depth.skip_path == "linear";
  int64_t const rank = full ? model.width : resolved_skip_rank(model, depth);
  if (!full) down_XD = register_parameter("down", at::empty({rank, model.width}));
  up_DX = register_parameter("up", at::empty({model.width, rank}));
}

at::Tensor SkipPathImpl::forward(at::Tensor const& x_RD) {
  at::Tensor const normed_RD = ops::unit_rms(x_RD);
  return ops::linear(down_XD.defined() ? ops::linear(normed_RD, down_XD) : normed_RD, up_DX);
}

BlockImpl::BlockImpl(ModelConfig const& config) {
  attention = register_module("attention", std::make_shared<AttentionImpl>(config));
  mlp = register_module("mlp", std::make_shared<MlpImpl>(config));
}

at::Tensor BlockImpl::forward(at::Tensor const& x_RD, Rows const& rows, RotaryTables const& rotary) {
  at::Tensor const h_RD = x_RD + attention->forward(x_RD, rows, rotary);
  return h_RD + mlp->forward(h_RD);
}

}  // namespace isobath
