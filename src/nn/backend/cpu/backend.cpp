// Float on the CPU: runs the loops of kernels.h in threads, each on a range of rows.

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "nn/backend/backend.h"
#include "nn/backend/cpu/kernels.h"

namespace isobath {

namespace {

using at::Tensor;

// Rows a thread takes at a time, so that small work stays on one thread.
int64_t grain(int64_t width) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)); }

float* data(Tensor& x) { return x.mutable_data_ptr<float>(); }
float const* data(Tensor const& x) { return x.const_data_ptr<float>(); }
int64_t const* integers(Tensor const& x) { return x.const_data_ptr<int64_t>(); }

std::tuple<Tensor, Tensor> cpu_rms_norm(Tensor const& x_RD, Tensor const& weight_D, double eps) {
  int64_t const rows = x_RD.size(0), width = x_RD.size(1);
  Tensor y_RD = at::empty_like(x_RD), rstd_R = at::empty({rows}, x_RD.options());
  at::parallel_for(0, rows, grain(width), [&](int64_t begin, int64_t end) {
    kernels::rms_norm(data(x_RD) + begin * width, data(weight_D), data(y_RD) + begin * width, data(rstd_R) + begin, end - begin, width,
                      static_cast<float>(eps));
  });
  return {y_RD, rstd_R};
}

std::tuple<Tensor, Tensor> cpu_rms_norm_backward(Tensor const& dy_RD, Tensor const& x_RD, Tensor const& weight_D, Tensor const& rstd_R) {
  int64_t const rows = x_RD.size(0), width = x_RD.size(1);
  // A fixed number of partial sums, so that the result does not depend on the number of threads.
  int64_t const parts = std::min<int64_t>(16, rows);
  Tensor dx_RD = at::empty_like(x_RD), dweight_parts = at::zeros({parts, width}, x_RD.options());
  at::parallel_for(0, parts, std::max<int64_t>(1, grain(width) * parts / std::max<int64_t>(1, rows)), [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      int64_t const first = rows * part / parts, last = rows * (part + 1) / parts;
      kernels::rms_norm_backward(data(dy_RD) + first * width, data(x_RD) + first * width, data(weight_D), data(rstd_R) + first,
                                 data(dx_RD) + first * width, data(dweight_parts) + part * width, last - first, width);
    }
  });
  return {dx_RD, dweight_parts.sum(0)};
}

// A row's result does not depend on the other rows: a score falls on the same side of a threshold in any batch.
Tensor cpu_row_dot(Tensor const& x_ND, Tensor const& weight_D) {
  int64_t const rows = x_ND.size(0), width = x_ND.size(1);
  Tensor y_N = at::empty({rows}, x_ND.options());
  at::parallel_for(0, rows, grain(width), [&](int64_t begin, int64_t end) {
    kernels::few_rows_product(data(weight_D), data(x_ND), data(y_N), 1, width, rows, begin, end);
  });
  return y_N;
}

std::tuple<Tensor, Tensor> cpu_row_dot_backward(Tensor const& dy_N, Tensor const& x_ND, Tensor const& weight_D) {
  return {dy_N.ger(weight_D), x_ND.t().mv(dy_N)};
}

Tensor cpu_swiglu(Tensor const& gate_up_RX) {
  int64_t const rows = gate_up_RX.size(0), hidden = gate_up_RX.size(1) / 2;
  Tensor y_RF = at::empty({rows, hidden}, gate_up_RX.options());
  at::parallel_for(0, rows, grain(hidden), [&](int64_t begin, int64_t end) {
    kernels::swiglu(data(gate_up_RX) + begin * 2 * hidden, data(y_RF) + begin * hidden, end - begin, hidden);
  });
  return y_RF;
}

Tensor cpu_swiglu_backward(Tensor const& dy_RF, Tensor const& gate_up_RX) {
  int64_t const rows = gate_up_RX.size(0), hidden = gate_up_RX.size(1) / 2;
  Tensor dgate_up_RX = at::empty_like(gate_up_RX);
  at::parallel_for(0, rows, grain(hidden), [&](int64_t begin, int64_t end) {
    kernels::swiglu_backward(data(dy_RF) + begin * hidden, data(gate_up_RX) + begin * 2 * hidden, data(dgate_up_RX) + begin * 2 * hidden,
                             end - begin, hidden);
  });
  return dgate_up_RX;
}

Tensor cpu_gelu(Tensor const& x) {
  Tensor y = at::empty_like(x);
  at::parallel_for(0, x.numel(), 16384, [&](int64_t begin, int64_t end) { kernels::gelu(data(x) + begin, data(y) + begin, end - begin); });
  return y;
}

Tensor cpu_gelu_backward(Tensor const& dy, Tensor const& x) {
  Tensor dx = at::empty_like(x);
  at::parallel_for(0, x.numel(), 16384, [&](int64_t begin, int64_t end) {
    kernels::gelu_backward(data(dy) + begin, data(x) + begin, data(dx) + begin, end - begin);
  });
  return dx;
}

std::tuple<Tensor, Tensor, Tensor> cpu_split_rotary(Tensor const& qkv_RX, int64_t heads, int64_t kv_heads, int64_t head_dim,
                                                    Tensor const& positions_R, Tensor const& cos_TE, Tensor const& sin_TE) {
  int64_t const rows = qkv_RX.size(0), stride = qkv_RX.size(1), q_width = heads * head_dim, k_width = kv_heads * head_dim;
  Tensor q_RHE = at::empty({rows, heads, head_dim}, qkv_RX.options()), k_RGE = at::empty({rows, kv_heads, head_dim}, qkv_RX.options()),
         v_RGE = at::empty({rows, kv_heads, head_dim}, qkv_RX.options());
  at::parallel_for(0, rows, grain(stride), [&](int64_t begin, int64_t end) {
    int64_t const n = end - begin;
    int64_t const* positions = integers(positions_R) + begin;
    float const* in = data(qkv_RX) + begin * stride;
    kernels::rotate(in, stride, data(q_RHE) + begin * q_width, q_width, positions, data(cos_TE), data(sin_TE), n, heads, head_dim, false);
    kernels::rotate(in + q_width, stride, data(k_RGE) + begin * k_width, k_width, positions, data(cos_TE), data(sin_TE), n, kv_heads,
                    head_dim, false);
    kernels::copy_rows(in + q_width + k_width, stride, data(v_RGE) + begin * k_width, k_width, n, k_width);
  });
  return {q_RHE, k_RGE, v_RGE};
}

Tensor cpu_split_rotary_backward(Tensor const& dq_RHE, Tensor const& dk_RGE, Tensor const& dv_RGE, Tensor const& positions_R,
                                 Tensor const& cos_TE, Tensor const& sin_TE) {
  int64_t const rows = dq_RHE.size(0), heads = dq_RHE.size(1), head_dim = dq_RHE.size(2), kv_heads = dk_RGE.size(1),
                q_width = heads * head_dim, k_width = kv_heads * head_dim, stride = q_width + 2 * k_width;
  Tensor dqkv_RX = at::empty({rows, stride}, dq_RHE.options());
  at::parallel_for(0, rows, grain(stride), [&](int64_t begin, int64_t end) {
    int64_t const n = end - begin;
    int64_t const* positions = integers(positions_R) + begin;
    float* out = data(dqkv_RX) + begin * stride;
    kernels::rotate(data(dq_RHE) + begin * q_width, q_width, out, stride, positions, data(cos_TE), data(sin_TE), n, heads, head_dim, true);
    kernels::rotate(data(dk_RGE) + begin * k_width, k_width, out + q_width, stride, positions, data(cos_TE), data(sin_TE), n, kv_heads,
                    head_dim, true);
    kernels::copy_rows(data(dv_RGE) + begin * k_width, k_width, out + q_width + k_width, stride, n, k_width);
  });
  return dqkv_RX;
}

Tensor cpu_scatter_add_rows(Tensor const& x_ND, Tensor const& index_R, Tensor const& delta_RD, Tensor const& weight_R) {
  int64_t const width = x_ND.size(1);
  Tensor y_ND = x_ND.clone();
  at::parallel_for(0, index_R.size(0), grain(width), [&](int64_t begin, int64_t end) {
    kernels::scatter_add(data(y_ND), integers(index_R) + begin, data(delta_RD) + begin * width,
                         weight_R.defined() ? data(weight_R) + begin : nullptr, end - begin, width);
  });
  return y_ND;
}

std::tuple<Tensor, Tensor> cpu_scatter_add_rows_backward(Tensor const& dy_ND, Tensor const& index_R, Tensor const& delta_RD,
                                                         Tensor const& weight_R) {
  int64_t const width = dy_ND.size(1);
  Tensor ddelta_RD = at::empty_like(delta_RD), dweight_R = weight_R.defined() ? at::empty_like(weight_R) : Tensor();
  at::parallel_for(0, index_R.size(0), grain(width), [&](int64_t begin, int64_t end) {
    kernels::scatter_add_backward(data(dy_ND), integers(index_R) + begin, data(delta_RD) + begin * width,
                                  weight_R.defined() ? data(weight_R) + begin : nullptr, data(ddelta_RD) + begin * width,
                                  dweight_R.defined() ? data(dweight_R) + begin : nullptr, end - begin, width);
  });
  return {ddelta_RD, dweight_R};
}

Tensor cpu_cross_entropy(Tensor const& logits_RV, Tensor const& targets_R, bool gradients) {
  int64_t const rows = logits_RV.size(0), vocab = logits_RV.size(1);
  Tensor losses_R = at::empty({rows}, logits_RV.options());
  float* const logits = logits_RV.mutable_data_ptr<float>();
  at::parallel_for(0, rows, grain(4 * vocab), [&](int64_t begin, int64_t end) {
    kernels::cross_entropy(logits + begin * vocab, integers(targets_R) + begin, data(losses_R) + begin, end - begin, vocab, gradients);
  });
  return losses_R;
}

Tensor cpu_top_k(Tensor const& scores_BT, int64_t K) {
  int64_t const B = scores_BT.size(0), T = scores_BT.size(1);
  Tensor index_BK = at::empty({B, K}, scores_BT.options().dtype(at::kLong));
  int64_t* const index = index_BK.mutable_data_ptr<int64_t>();
  at::parallel_for(0, B, grain(8 * T),
                   [&](int64_t begin, int64_t end) { kernels::top_k(data(scores_BT) + begin * T, index + begin * K, begin, end, T, K); });
  return index_BK.view({-1});
}

}  // namespace

Backend const& cpu_backend() {
  static Backend const backend{"cpu",
                               cpu_rms_norm,
                               cpu_rms_norm_backward,
                               cpu_row_dot,
                               cpu_row_dot_backward,
                               cpu_swiglu,
                               cpu_swiglu_backward,
                               cpu_gelu,
                               cpu_gelu_backward,
                               cpu_split_rotary,
                               cpu_split_rotary_backward,
                               cpu_scatter_add_rows,
                               cpu_scatter_add_rows_backward,
                               cpu_cross_entropy,
                               cpu_top_k};
  return backend;
}

}  // namespace isobath
