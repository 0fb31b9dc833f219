// The table of backend.h for float and bfloat16 on CUDA: checks nothing but types, allocates, launches the bodies of norm.h, activation.h, ...
// on the current stream. Nothing here waits for the device, so all of it may be captured in a graph.

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <tuple>

#include "nn/backend/cuda/activation.h"
#include "nn/backend/cuda/cross_entropy.h"
#include "nn/backend/cuda/group.cuh"
#include "nn/backend/cuda/norm.h"
#include "nn/backend/cuda/rotary.h"
#include "nn/backend/cuda/scatter.h"
#include "nn/backend/cuda/top_k.h"
#include "nn/backend/plugin.h"

namespace isobath::cuda {

using at::Tensor;

namespace {

constexpr int warp = 32;

template <int threads, typename Body>
void launch(int64_t rows, Body const& body, size_t scratch_bytes = 0) {
  if (rows == 0) return;
  constexpr int64_t groups = block_size<threads> / threads;
  int64_t const blocks = std::min<int64_t>((rows + groups - 1) / groups, std::numeric_limits<int32_t>::max());
  each_row<threads><<<static_cast<unsigned>(blocks), block_size<threads>, scratch_bytes, c10::cuda::getCurrentCUDAStream()>>>(rows, body);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

// Calls f<T, N>() with the type of x and N elements to a 16-byte access; one element where rows of `width` do not allow that.
template <typename F>
void dispatch(char const* op, int64_t width, Tensor const& x, std::initializer_list<Tensor> others, F f) {
  TORCH_CHECK(width <= std::numeric_limits<int32_t>::max(), op, ": rows of ", width, " are too wide");
  auto const aligned = [](Tensor const& t) { return !t.defined() || reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0; };
  bool const wide = width % (16 / x.element_size()) == 0 && aligned(x) && std::all_of(others.begin(), others.end(), aligned);
  if (x.scalar_type() == at::kFloat) {
    wide ? f.template operator()<float, 4>() : f.template operator()<float, 1>();
  } else if (x.scalar_type() == at::kBFloat16) {
    wide ? f.template operator()<at::BFloat16, 8>() : f.template operator()<at::BFloat16, 1>();
  } else {
    TORCH_CHECK(false, op, ": no CUDA kernel for ", x.scalar_type(), ", only for float and bfloat16");
  }
}

template <typename T>
T const* data(Tensor const& x) {
  return x.defined() ? x.const_data_ptr<T>() : nullptr;
}
template <typename T>
T* data(Tensor& x) {
  return x.defined() ? x.mutable_data_ptr<T>() : nullptr;
}

std::tuple<Tensor, Tensor> rms_norm(Tensor const& x_RD, Tensor const& weight_D, double eps) {
  c10::cuda::CUDAGuard const guard(x_RD.device());
  int64_t const R = x_RD.size(0), D = x_RD.size(1);
  Tensor y_RD = at::empty_like(x_RD), rstd_R = at::empty({R}, weight_D.options());
  dispatch("rms_norm", D, x_RD, {weight_D}, [&]<typename T, int N>() {
    launch<warp>(R, RmsNorm<T, N>{.x = data<T>(x_RD),
                                  .weight = data<float>(weight_D),
                                  .y = data<T>(y_RD),
                                  .rstd = data<float>(rstd_R),
                                  .width = static_cast<int>(D),
                                  .eps = static_cast<float>(eps)});
  });
  return {y_RD, rstd_R};
}

// How backward passes divide their rows, each part with a sum of its own for dweight: a few blocks for every multiprocessor of a large GPU.
struct Parts {
  explicit Parts(int64_t rows, int64_t width) : count(std::min<int64_t>((rows + 7) / 8, 1024)) {
    size_t const bytes = static_cast<size_t>(width) * sizeof(float);
    scratch_bytes = bytes <= 40 << 10 ? bytes : 0;  // of the 48 KiB that every GPU grants without being asked
  }
  int64_t count;
  size_t scratch_bytes;
};

std::tuple<Tensor, Tensor> rms_norm_backward(Tensor const& dy_RD, Tensor const& x_RD, Tensor const& weight_D, Tensor const& rstd_R) {
  c10::cuda::CUDAGuard const guard(x_RD.device());
  int64_t const R = x_RD.size(0), D = x_RD.size(1);
  Parts const parts(R, D);
  Tensor dx_RD = at::empty_like(x_RD), dweight_PD = at::empty({parts.count, D}, weight_D.options());
  dispatch("rms_norm_backward", D, x_RD, {dy_RD, weight_D}, [&]<typename T, int N>() {
    launch<128>(parts.count,
                RmsNormBackward<T, N>{.dy = data<T>(dy_RD),
                                      .x = data<T>(x_RD),
                                      .weight = data<float>(weight_D),
                                      .rstd = data<float>(rstd_R),
                                      .dx = data<T>(dx_RD),
                                      .dweight_parts = data<float>(dweight_PD),
                                      .rows = R,
                                      .parts = parts.count,
                                      .width = static_cast<int>(D),
                                      .scratch = parts.scratch_bytes > 0},
                parts.scratch_bytes);
  });
  return {dx_RD, dweight_PD.sum(0)};
}

Tensor row_dot(Tensor const& x_ND, Tensor const& weight_D) {
  c10::cuda::CUDAGuard const guard(x_ND.device());
  int64_t const R = x_ND.size(0), D = x_ND.size(1);
  Tensor y_N = at::empty({R}, weight_D.options());
  dispatch("row_dot", D, x_ND, {weight_D}, [&]<typename T, int N>() {
    launch<warp>(
        R, RowDot<T, N>{.x = data<T>(x_ND), .weight = data<float>(weight_D), .y = data<float>(y_N), .width = static_cast<int>(D)});
  });
  return y_N;
}

std::tuple<Tensor, Tensor> row_dot_backward(Tensor const& dy_N, Tensor const& x_ND, Tensor const& weight_D) {
  c10::cuda::CUDAGuard const guard(x_ND.device());
  int64_t const R = x_ND.size(0), D = x_ND.size(1);
  Parts const parts(R, D);
  Tensor dx_ND = at::empty_like(x_ND), dweight_PD = at::empty({parts.count, D}, weight_D.options());
  dispatch("row_dot_backward", D, x_ND, {weight_D}, [&]<typename T, int N>() {
    launch<128>(parts.count,
                RowDotBackward<T, N>{.dy = data<float>(dy_N),
                                     .x = data<T>(x_ND),
                                     .weight = data<float>(weight_D),
                                     .dx = data<T>(dx_ND),
                                     .dweight_parts = data<float>(dweight_PD),
                                     .rows = R,
                                     .parts = parts.count,
                                     .width = static_cast<int>(D),
                                     .scratch = parts.scratch_bytes > 0},
                parts.scratch_bytes);
  });
  return {dx_ND, dweight_PD.sum(0)};
}

Tensor swiglu(Tensor const& gate_up_RX) {
  c10::cuda::CUDAGuard const guard(gate_up_RX.device());
  int64_t const R = gate_up_RX.size(0), F = gate_up_RX.size(1) / 2;
  Tensor y_RF = at::empty({R, F}, gate_up_RX.options());
  dispatch("swiglu", F, gate_up_RX, {}, [&]<typename T, int N>() {
    launch<warp>(R, SwiGlu<T, N>{.gate_up = data<T>(gate_up_RX), .y = data<T>(y_RF), .hidden = static_cast<int>(F)});
  });
  return y_RF;
}

Tensor swiglu_backward(Tensor const& dy_RF, Tensor const& gate_up_RX) {
  c10::cuda::CUDAGuard const guard(gate_up_RX.device());
  int64_t const R = gate_up_RX.size(0), F = gate_up_RX.size(1) / 2;
  Tensor dgate_up_RX = at::empty_like(gate_up_RX);
  dispatch("swiglu_backward", F, gate_up_RX, {dy_RF}, [&]<typename T, int N>() {
    launch<warp>(
        R, SwiGluBackward<T, N>{
               .dy = data<T>(dy_RF), .gate_up = data<T>(gate_up_RX), .dgate_up = data<T>(dgate_up_RX), .hidden = static_cast<int>(F)});
  });
  return dgate_up_RX;
}

constexpr int gelu_width = 1024;  // what a warp takes of a tensor whose shape does not matter; the last one takes count % gelu_width
int64_t gelu_rows(int64_t count) { return (count + gelu_width - 1) / gelu_width; }

Tensor gelu(Tensor const& x) {
  c10::cuda::CUDAGuard const guard(x.device());
  int64_t const count = x.numel();
  Tensor y = at::empty_like(x);
  dispatch("gelu", count % gelu_width, x, {}, [&]<typename T, int N>() {
    launch<warp>(gelu_rows(count), Gelu<T, N>{.x = data<T>(x), .y = data<T>(y), .count = count, .width = gelu_width});
  });
  return y;
}

Tensor gelu_backward(Tensor const& dy, Tensor const& x) {
  c10::cuda::CUDAGuard const guard(x.device());
  int64_t const count = x.numel();
  Tensor dx = at::empty_like(x);
  dispatch("gelu_backward", count % gelu_width, x, {dy}, [&]<typename T, int N>() {
    launch<warp>(gelu_rows(count),
                 GeluBackward<T, N>{.dy = data<T>(dy), .x = data<T>(x), .dx = data<T>(dx), .count = count, .width = gelu_width});
  });
  return dx;
}

std::tuple<Tensor, Tensor, Tensor> split_rotary(Tensor const& qkv_RX, int64_t heads, int64_t kv_heads, int64_t head_dim,
                                                Tensor const& positions_R, Tensor const& cos_TE, Tensor const& sin_TE) {
  c10::cuda::CUDAGuard const guard(qkv_RX.device());
  int64_t const R = qkv_RX.size(0);
  Tensor q_RHE = at::empty({R, heads, head_dim}, qkv_RX.options()), k_RGE = at::empty({R, kv_heads, head_dim}, qkv_RX.options()),
         v_RGE = at::empty_like(k_RGE);
  dispatch("split_rotary", head_dim / 2, qkv_RX, {cos_TE, sin_TE}, [&]<typename T, int N>() {
    launch<warp>(R, SplitRotary<T, N, false>{.qkv = data<T>(qkv_RX),
                                             .q = data<T>(q_RHE),
                                             .k = data<T>(k_RGE),
                                             .v = data<T>(v_RGE),
                                             .positions = data<int64_t>(positions_R),
                                             .cos = data<float>(cos_TE),
                                             .sin = data<float>(sin_TE),
                                             .heads = static_cast<int>(heads),
                                             .kv_heads = static_cast<int>(kv_heads),
                                             .head_dim = static_cast<int>(head_dim)});
  });
  return {q_RHE, k_RGE, v_RGE};
}

Tensor split_rotary_backward(Tensor const& dq_RHE, Tensor const& dk_RGE, Tensor const& dv_RGE, Tensor const& positions_R,
                             Tensor const& cos_TE, Tensor const& sin_TE) {
  c10::cuda::CUDAGuard const guard(dq_RHE.device());
  int64_t const R = dq_RHE.size(0), heads = dq_RHE.size(1), kv_heads = dk_RGE.size(1), head_dim = dq_RHE.size(2);
  Tensor dqkv_RX = at::empty({R, (heads + 2 * kv_heads) * head_dim}, dq_RHE.options());
  dispatch("split_rotary_backward", head_dim / 2, dq_RHE, {dk_RGE, dv_RGE, cos_TE, sin_TE}, [&]<typename T, int N>() {
    launch<warp>(R, SplitRotary<T, N, true>{.qkv = data<T>(dqkv_RX),
                                            .q = data<T>(dq_RHE),
                                            .k = data<T>(dk_RGE),
                                            .v = data<T>(dv_RGE),
                                            .positions = data<int64_t>(positions_R),
                                            .cos = data<float>(cos_TE),
                                            .sin = data<float>(sin_TE),
                                            .heads = static_cast<int>(heads),
                                            .kv_heads = static_cast<int>(kv_heads),
                                            .head_dim = static_cast<int>(head_dim)});
  });
  return dqkv_RX;
}

Tensor scatter_add_rows(Tensor const& x_ND, Tensor const& index_R, Tensor const& delta_RD, Tensor const& weight_R) {
  c10::cuda::CUDAGuard const guard(x_ND.device());
  int64_t const R = delta_RD.size(0), D = delta_RD.size(1);
  Tensor y_ND = x_ND.clone();
  dispatch("scatter_add_rows", D, delta_RD, {y_ND}, [&]<typename T, int N>() {
    launch<warp>(R, ScatterAddRows<T, N>{.y = data<T>(y_ND),
                                         .index = data<int64_t>(index_R),
                                         .delta = data<T>(delta_RD),
                                         .weight = data<float>(weight_R),
                                         .width = static_cast<int>(D)});
  });
  return y_ND;
}

std::tuple<Tensor, Tensor> scatter_add_rows_backward(Tensor const& dy_ND, Tensor const& index_R, Tensor const& delta_RD,
                                                     Tensor const& weight_R) {
  c10::cuda::CUDAGuard const guard(dy_ND.device());
  int64_t const R = delta_RD.size(0), D = delta_RD.size(1);
  Tensor ddelta_RD = at::empty_like(delta_RD), dweight_R = weight_R.defined() ? at::empty_like(weight_R) : Tensor();
  dispatch("scatter_add_rows_backward", D, delta_RD, {dy_ND}, [&]<typename T, int N>() {
    launch<warp>(R, ScatterAddRowsBackward<T, N>{.dy = data<T>(dy_ND),
                                                 .index = data<int64_t>(index_R),
                                                 .delta = data<T>(delta_RD),
                                                 .weight = data<float>(weight_R),
                                                 .ddelta = data<T>(ddelta_RD),
                                                 .dweight = data<float>(dweight_R),
                                                 .width = static_cast<int>(D)});
  });
  return {ddelta_RD, dweight_R};
}

Tensor cross_entropy(Tensor const& logits_RV, Tensor const& targets_R, bool gradients) {
  c10::cuda::CUDAGuard const guard(logits_RV.device());
  int64_t const R = logits_RV.size(0), V = logits_RV.size(1);
  Tensor logits = logits_RV, losses_R = at::empty({R}, logits_RV.options().dtype(at::kFloat));
  dispatch("cross_entropy", V, logits, {}, [&]<typename T, int N>() {
    launch<512>(R, CrossEntropy<T, N>{.logits = data<T>(logits),
                                      .targets = data<int64_t>(targets_R),
                                      .losses = data<float>(losses_R),
                                      .vocab = static_cast<int>(V),
                                      .gradients = gradients});
  });
  return losses_R;
}

Tensor top_k(Tensor const& scores_BT, int64_t K) {
  c10::cuda::CUDAGuard const guard(scores_BT.device());
  int64_t const B = scores_BT.size(0), T = scores_BT.size(1);
  TORCH_CHECK(scores_BT.scalar_type() == at::kFloat, "top_k: no CUDA kernel for ", scores_BT.scalar_type(), ", only for float");
  TORCH_CHECK(K >= 0 && K <= T && T <= std::numeric_limits<int32_t>::max(), "top_k: ", K, " of ", T, " scores");
  Tensor index_R = at::empty({B * K}, scores_BT.options().dtype(at::kLong));
  if (K == 0) return index_R;
  TopK const body{.scores = data<float>(scores_BT), .index = data<int64_t>(index_R), .T = static_cast<int>(T), .K = static_cast<int>(K)};
  launch<1024>(B, body, sizeof(TopK::Scratch));
  return index_R;
}

}  // namespace

extern Backend const backend;  // plugin.cpp hands it out
Backend const backend{.name = "cuda",
                      .rms_norm = rms_norm,
                      .rms_norm_backward = rms_norm_backward,
                      .row_dot = row_dot,
                      .row_dot_backward = row_dot_backward,
                      .swiglu = swiglu,
                      .swiglu_backward = swiglu_backward,
                      .gelu = gelu,
                      .gelu_backward = gelu_backward,
                      .split_rotary = split_rotary,
                      .split_rotary_backward = split_rotary_backward,
                      .scatter_add_rows = scatter_add_rows,
                      .scatter_add_rows_backward = scatter_add_rows_backward,
                      .cross_entropy = cross_entropy,
                      .top_k = top_k};

}  // namespace isobath::cuda
