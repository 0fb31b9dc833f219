// Compositions of ATen operators, for every type and device.

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sort.h>

#include "nn/backend/backend.h"

namespace isobath {

namespace {

using at::Tensor;

Tensor widen(Tensor const& x) { return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat); }

std::tuple<Tensor, Tensor> aten_rms_norm(Tensor const& x_RD, Tensor const& weight_D, double eps) {
  Tensor const wide_RD = widen(x_RD), rstd_R = (wide_RD.square().mean(1) + eps).rsqrt();
  return {(wide_RD * rstd_R.unsqueeze(1) * weight_D).to(x_RD.scalar_type()), rstd_R};
}

std::tuple<Tensor, Tensor> aten_rms_norm_backward(Tensor const& dy_RD, Tensor const& x_RD, Tensor const& weight_D, Tensor const& rstd_R) {
  Tensor const dy = widen(dy_RD), rstd_R1 = rstd_R.unsqueeze(1), normed = widen(x_RD) * rstd_R1, weighted = dy * weight_D;
  Tensor const dx = (weighted - normed * (weighted * normed).mean(1, /*keepdim=*/true)) * rstd_R1;
  return {dx.to(x_RD.scalar_type()), (dy * normed).sum(0)};
}

Tensor aten_row_dot(Tensor const& x_ND, Tensor const& weight_D) { return widen(x_ND).mv(weight_D); }

std::tuple<Tensor, Tensor> aten_row_dot_backward(Tensor const& dy_N, Tensor const& x_ND, Tensor const& weight_D) {
  return {dy_N.ger(weight_D).to(x_ND.scalar_type()), widen(x_ND).t().mv(dy_N)};
}

Tensor aten_swiglu(Tensor const& gate_up_RX) {
  auto const halves = widen(gate_up_RX).chunk(2, 1);
  return (halves[0] * halves[0].sigmoid() * halves[1]).to(gate_up_RX.scalar_type());
}

Tensor aten_swiglu_backward(Tensor const& dy_RF, Tensor const& gate_up_RX) {
  auto const halves = widen(gate_up_RX).chunk(2, 1);
  Tensor const dy = widen(dy_RF), &gate = halves[0], &up = halves[1], s = gate.sigmoid();
  return at::cat({dy * up * s * (1 + gate * (1 - s)), dy * gate * s}, 1).to(gate_up_RX.scalar_type());
}

Tensor aten_gelu(Tensor const& x) { return at::gelu(x, "tanh"); }

Tensor aten_gelu_backward(Tensor const& dy, Tensor const& x) { return at::gelu_backward(dy, x, "tanh"); }

// Rotates x_RHE by the angles of its rows; direction -1 rotates back.
Tensor turn(Tensor const& x_RHE, Tensor const& positions_R, Tensor const& cos_TE, Tensor const& sin_TE, double direction) {
  Tensor const cos = cos_TE.index_select(0, positions_R).unsqueeze(1), sin = direction * sin_TE.index_select(0, positions_R).unsqueeze(1);
  auto const halves = widen(x_RHE).chunk(2, 2);
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, 2).to(x_RHE.scalar_type());
}

std::tuple<Tensor, Tensor, Tensor> aten_split_rotary(Tensor const& qkv_RX, int64_t heads, int64_t kv_heads, int64_t head_dim,
                                                     Tensor const& positions_R, Tensor const& cos_TE, Tensor const& sin_TE) {
  auto const parts = qkv_RX.split_with_sizes({heads * head_dim, kv_heads * head_dim, kv_heads * head_dim}, 1);
  return {turn(parts[0].unflatten(1, {heads, head_dim}), positions_R, cos_TE, sin_TE, 1),
          turn(parts[1].unflatten(1, {kv_heads, head_dim}), positions_R, cos_TE, sin_TE, 1),
          parts[2].unflatten(1, {kv_heads, head_dim}).contiguous()};
}

Tensor aten_split_rotary_backward(Tensor const& dq_RHE, Tensor const& dk_RGE, Tensor const& dv_RGE, Tensor const& positions_R,
                                  Tensor const& cos_TE, Tensor const& sin_TE) {
  return at::cat({turn(dq_RHE, positions_R, cos_TE, sin_TE, -1).flatten(1), turn(dk_RGE, positions_R, cos_TE, sin_TE, -1).flatten(1),
                  dv_RGE.flatten(1)},
                 1);
}

Tensor aten_scatter_add_rows(Tensor const& x_ND, Tensor const& index_R, Tensor const& delta_RD, Tensor const& weight_R) {
  return x_ND.index_add(0, index_R, weight_R.defined() ? (weight_R.unsqueeze(1) * delta_RD).to(x_ND.scalar_type()) : delta_RD);
}

std::tuple<Tensor, Tensor> aten_scatter_add_rows_backward(Tensor const& dy_ND, Tensor const& index_R, Tensor const& delta_RD,
                                                          Tensor const& weight_R) {
  Tensor const dy_RD = dy_ND.index_select(0, index_R);
  if (!weight_R.defined()) return {dy_RD, Tensor()};
  return {(weight_R.unsqueeze(1) * dy_RD).to(dy_RD.scalar_type()), (widen(delta_RD) * dy_RD).sum(1)};
}

Tensor aten_cross_entropy(Tensor const& logits_RV, Tensor const& targets_R, bool gradients) {
  Tensor const wide_RV = widen(logits_RV), index_R1 = targets_R.clamp_min(0).unsqueeze(1), log_sum_R = wide_RV.logsumexp(1);
  Tensor const keep_R = targets_R.ge(0).to(wide_RV.scalar_type());
  Tensor const losses_R = (log_sum_R - wide_RV.gather(1, index_R1).squeeze(1)) * keep_R;
  if (gradients) {
    Tensor const gradient_RV = (wide_RV - log_sum_R.unsqueeze(1)).exp_();
    gradient_RV.scatter_add_(1, index_R1, -at::ones_like(index_R1, wide_RV.options()));
    logits_RV.copy_(gradient_RV.mul_(keep_R.unsqueeze(1)));
  }
  return losses_R;
}

Tensor aten_top_k(Tensor const& scores_BT, int64_t K) {
  int64_t const B = scores_BT.size(0), T = scores_BT.size(1);
  // A stable sort keeps equal scores in order of position, which at::topk does not promise.
  Tensor const order_BT = std::get<1>(at::sort(scores_BT, /*stable=*/true, 1, /*descending=*/true));
  Tensor const index_BK = std::get<0>(order_BT.narrow(1, 0, K).sort(1));
  return (index_BK + at::arange(B, index_BK.options()).unsqueeze(1) * T).reshape({-1});
}

}  // namespace

Backend const& aten_backend() {
  static Backend const backend{"aten",
                               aten_rms_norm,
                               aten_rms_norm_backward,
                               aten_row_dot,
                               aten_row_dot_backward,
                               aten_swiglu,
                               aten_swiglu_backward,
                               aten_gelu,
                               aten_gelu_backward,
                               aten_split_rotary,
                               aten_split_rotary_backward,
                               aten_scatter_add_rows,
                               aten_scatter_add_rows_backward,
                               aten_cross_entropy,
                               aten_top_k};
  return backend;
}

}  // namespace isobath
