#include "nn/attention/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "nn/attention/attend.h"
#include "nn/attention/kv_cache.h"
#include "nn/ops/ops.h"

namespace isobath {

AttentionImpl::AttentionImpl(ModelConfig const& config)
    : heads(config.heads), kv_heads(resolved_kv_heads(config)), head_dim(config.width / config.heads), eps(config.norm_eps) {
  norm_D = register_parameter("norm", at::ones({config.width}));
  qkv_XD = register_parameter("qkv", at::empty({(heads + 2 * kv_heads) * head_dim, config.width}));
  o_DX = register_parameter("o", at::empty({config.width, heads * head_dim}));
  if (config.qk_norm) {
    q_norm_E = register_parameter("q_norm", at::ones({head_dim}));
    k_norm_E = register_parameter("k_norm", at::ones({head_dim}));
  }
}

at::Tensor AttentionImpl::forward(at::Tensor const& x_RD, Rows const& rows, RotaryTables const& rotary) {
  at::Tensor const qkv_RX = updated_linear(ops::rms_norm(x_RD, norm_D, eps), qkv_XD, qkv_update);
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
  return updated_linear(rows.one_row_per_text ? rows.cache->attend(q_RHE, rows) : ops::attend(q_RHE, k_RGE, v_RGE, rows, cuda_kernel), o_DX,
                        o_update);
}

at::Tensor AttentionImpl::forward_among_all(at::Tensor const& x_ND, Rows const& rows, at::Tensor const& index_R, Rows const& selected,
                                            RotaryTables const& rotary) {
  at::Tensor const normed_ND = ops::rms_norm(x_ND, norm_D, eps);
  int64_t const q_width = heads * head_dim;
  at::Tensor q_RHE = updated_linear(ops::gather_rows(normed_ND, index_R), qkv_XD.narrow(0, 0, q_width), qkv_update.of_outputs(0, q_width))
                         .unflatten(1, {heads, head_dim});
  if (q_norm_E.defined()) q_RHE = ops::rms_norm(q_RHE, q_norm_E, eps);
  q_RHE = ops::rotary(q_RHE, selected.positions_R, rotary.cos_TE, rotary.sin_TE);
  auto const [k_NGE, v_NGE] = keys_and_values(normed_ND, rows, rotary);
  if (rows.cache) rows.cache->append(k_NGE, v_NGE, rows);
  return updated_linear(
      rows.one_row_per_text ? rows.cache->attend(q_RHE, selected) : ops::attend_among_all(q_RHE, k_NGE, v_NGE, rows, index_R, selected),
      o_DX, o_update);
}

std::pair<at::Tensor, at::Tensor> AttentionImpl::keys_and_values(at::Tensor const& normed_ND, Rows const& rows,
                                                                 RotaryTables const& rotary) const {
  int64_t const first = heads * head_dim, count = 2 * kv_heads * head_dim;
  auto const kv = updated_linear(normed_ND, qkv_XD.narrow(0, first, count), qkv_update.of_outputs(first, count))
                      .unflatten(1, {2 * kv_heads, head_dim})
                      .chunk(2, 1);
  at::Tensor const k_NGE = k_norm_E.defined() ? ops::rms_norm(kv[0], k_norm_E, eps) : kv[0];
  return {ops::rotary(k_NGE, rows.positions_R, rotary.cos_TE, rotary.sin_TE), kv[1]};
}

void AttentionImpl::store(at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary) {
  auto const [k_NGE, v_NGE] = keys_and_values(ops::rms_norm(x_ND, norm_D, eps), rows, rotary);
  rows.cache->append(k_NGE, v_NGE, rows);
}

void AttentionImpl::add_low_rank(int64_t rank) {
  at::TensorOptions const like = qkv_XD.options().requires_grad(false);
  qkv_update = {register_parameter("qkv_down", at::zeros({rank, qkv_XD.size(1)}, like)),
                register_parameter("qkv_up", at::zeros({qkv_XD.size(0), rank}, like))};
  o_update = {register_parameter("o_down", at::zeros({rank, o_DX.size(1)}, like)),
              register_parameter("o_up", at::zeros({o_DX.size(0), rank}, like))};
}

void AttentionImpl::weights(std::string const& layer, InitialStd const& init, WeightList& list) const {
  int64_t const q = heads * head_dim, k = kv_heads * head_dim;
  list.constant(layer + "input_layernorm.weight", norm_D, Role::vector, 1);
  list.fused(layer + "self_attn.qkv_proj.weight", qkv_XD, Role::matrix,
             {{layer + "self_attn.q_proj.weight", q, init.matrix},
              {layer + "self_attn.k_proj.weight", k, init.matrix},
              {layer + "self_attn.v_proj.weight", k, init.matrix}});
  list.random(layer + "self_attn.o_proj.weight", o_DX, Role::matrix, init.residual);
  list.constant(layer + "self_attn.q_norm.weight", q_norm_E, Role::vector, 1);
  list.constant(layer + "self_attn.k_norm.weight", k_norm_E, Role::vector, 1);
  list.low_rank(layer + "self_attn.qkv_proj", qkv_update.down_KI, qkv_update.up_OK,
                {{layer + "self_attn.q_proj", q}, {layer + "self_attn.k_proj", k}, {layer + "self_attn.v_proj", k}});
  list.low_rank(layer + "self_attn.o_proj", o_update.down_KI, o_update.up_OK, {{layer + "self_attn.o_proj", o_DX.size(0)}});
}

}  // namespace isobath
