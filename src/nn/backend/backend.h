#pragma once
// The implementations of the row arithmetic of ops.h: one table of functions for each kind of tensor, without autograd (src/nn/ops adds
// it).
//
// Activations x, their gradients and logits share one type: float, double or bfloat16. The wide type is float for float and bfloat16,
// double for double: weights, their gradients, scores, gates, losses and rotary tables have it, and sums are taken in it. All tensors
// are contiguous. Shape letters: ops.h.

#include <ATen/core/Tensor.h>

#include <tuple>

namespace isobath {

struct Backend {
  char const* name;

  // y_RD = x_RD * rstd_R * weight_D and rstd_R = 1 / sqrt(mean(x^2) + eps).
  std::tuple<at::Tensor, at::Tensor> (*rms_norm)(at::Tensor const& x_RD, at::Tensor const& weight_D, double eps);
  // dx_RD, dweight_D.
  std::tuple<at::Tensor, at::Tensor> (*rms_norm_backward)(at::Tensor const& dy_RD, at::Tensor const& x_RD, at::Tensor const& weight_D,
                                                          at::Tensor const& rstd_R);

  // x_ND weight_D in the wide type.
  at::Tensor (*row_dot)(at::Tensor const& x_ND, at::Tensor const& weight_D);
  // dx_ND, dweight_D.
  std::tuple<at::Tensor, at::Tensor> (*row_dot_backward)(at::Tensor const& dy_N, at::Tensor const& x_ND, at::Tensor const& weight_D);

  // y_RF = silu(gate_RF) * up_RF of gate_up_RX = [gate_RF | up_RF].
  at::Tensor (*swiglu)(at::Tensor const& gate_up_RX);
  at::Tensor (*swiglu_backward)(at::Tensor const& dy_RF, at::Tensor const& gate_up_RX);  // dgate_up_RX

  at::Tensor (*gelu)(at::Tensor const& x);  // tanh form, any shape
  at::Tensor (*gelu_backward)(at::Tensor const& dy, at::Tensor const& x);

  // q_RHE, k_RGE, v_RGE of qkv_RX = [q | k | v]; queries and keys rotated (rotate-half) by cos_TE, sin_TE at positions_R (int64), E/2
  // angles a position.
  std::tuple<at::Tensor, at::Tensor, at::Tensor> (*split_rotary)(at::Tensor const& qkv_RX, int64_t heads, int64_t kv_heads,
                                                                 int64_t head_dim, at::Tensor const& positions_R, at::Tensor const& cos_TE,
                                                                 at::Tensor const& sin_TE);
  // dqkv_RX.
  at::Tensor (*split_rotary_backward)(at::Tensor const& dq_RHE, at::Tensor const& dk_RGE, at::Tensor const& dv_RGE,
                                      at::Tensor const& positions_R, at::Tensor const& cos_TE, at::Tensor const& sin_TE);

  // A new tensor: x_ND with weight_R * delta_RD added to the rows index_R (int64, each at most once). weight_R undefined: 1.
  at::Tensor (*scatter_add_rows)(at::Tensor const& x_ND, at::Tensor const& index_R, at::Tensor const& delta_RD, at::Tensor const& weight_R);
  // ddelta_RD = weight_R * dy_ND[index_R]; dweight_R = sum over D of delta_RD * dy_ND[index_R], undefined where weight_R is.
  std::tuple<at::Tensor, at::Tensor> (*scatter_add_rows_backward)(at::Tensor const& dy_ND, at::Tensor const& index_R,
                                                                  at::Tensor const& delta_RD, at::Tensor const& weight_R);

  // Losses, in the wide type, of logits_RV against targets_R (int64); with gradients the logits become softmax - onehot in place, else
  // they may be overwritten. A negative target: loss 0, gradient 0.
  at::Tensor (*cross_entropy)(at::Tensor const& logits_RV, at::Tensor const& targets_R, bool gradients);

  // Flat indices b * T + t (int64) of the K largest scores_BT of every sequence, ascending; ties go to the lower position; NaN counts as
  // larger than every number.
  at::Tensor (*top_k)(at::Tensor const& scores_BT, int64_t K);
};

// Made of ATen operators: any type, any device. The other tables are tested against it.
Backend const& aten_backend();
// Runs the loops of cpu/kernels.h in threads: float on the CPU.
Backend const& cpu_backend();
// The loaded CUDA plug-in, whose table takes float and bfloat16 on CUDA; null before device.h has loaded it.
struct CudaPlugin;
void set_cuda_plugin(CudaPlugin const* plugin);
CudaPlugin const* cuda_plugin();

// The fastest table for tensors of x's type and device. ISOBATH_CUDA_KERNELS=off in the environment leaves the plug-in's kernels out,
// should one of them be wrong.
Backend const& backend_for(at::Tensor const& x);

}  // namespace isobath
