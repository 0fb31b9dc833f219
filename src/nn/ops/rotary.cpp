#include "nn/ops/ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "nn/backend/backend.h"

namespace isobath::ops {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

struct SplitRotary : Function<SplitRotary> {
  static variable_list forward(AutogradContext* ctx, Tensor const& qkv_in, int64_t heads, int64_t kv_heads, int64_t head_dim,
                               Tensor const& positions, Tensor const& cos, Tensor const& sin) {
    Tensor const qkv = qkv_in.contiguous();
    auto const [q, k, v] = backend_for(qkv).split_rotary(qkv, heads, kv_heads, head_dim, positions, cos, sin);
    ctx->save_for_backward({positions, cos, sin});
    return {q, k, v};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const dq = grads[0].contiguous(), dk = grads[1].contiguous(), dv = grads[2].contiguous();
    Tensor const dqkv = backend_for(dq).split_rotary_backward(dq, dk, dv, saved[0], saved[1], saved[2]);
    return {dqkv, Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

std::tuple<Tensor, Tensor> rotary_tables(int64_t length, int64_t head_dim, double theta, at::TensorOptions const& options) {
  // In double: an angle of some thousand radians keeps only three decimals in fp32.
  at::TensorOptions const wide = options.dtype(at::kDouble);
  Tensor const frequency_E = at::arange(0, head_dim, 2, wide).mul(-std::log(theta) / static_cast<double>(head_dim)).exp();
  Tensor const angle_TE = at::arange(length, wide).unsqueeze(1) * frequency_E;
  return {angle_TE.cos().to(options.dtype()), angle_TE.sin().to(options.dtype())};
}

std::tuple<Tensor, Tensor, Tensor> split_rotary(Tensor const& qkv_RX, int64_t heads, int64_t kv_heads, int64_t head_dim,
                                                Tensor const& positions_R, Tensor const& cos_TE, Tensor const& sin_TE) {
  RECORD_FUNCTION("ops::split_rotary", c10::ArrayRef<c10::IValue const>());
  auto const parts = SplitRotary::apply(qkv_RX, heads, kv_heads, head_dim, positions_R, cos_TE, sin_TE);
  return {parts[0], parts[1], parts[2]};
}

Tensor rotary(Tensor const& x_RHE, Tensor const& positions_R, Tensor const& cos_TE, Tensor const& sin_TE) {
  Tensor const cos = cos_TE.index_select(0, positions_R).unsqueeze(1), sin = sin_TE.index_select(0, positions_R).unsqueeze(1);
  auto const halves = x_RHE.chunk(2, -1);
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1).to(x_RHE.scalar_type());
}

}  // namespace isobath::ops
