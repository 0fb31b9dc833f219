#include "nn/ops/ops.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/backend/backend.h"
#include "nn/ops/gemm.h"

namespace isobath::ops {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

struct Linear : Function<Linear> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x, Tensor const& weight) {
    Tensor const narrow_weight = weight.to(x.scalar_type());
    ctx->save_for_backward({x, narrow_weight});
    ctx->saved_data["weight_type"] = weight.scalar_type();
    return gemm_of_rows(x, narrow_weight.t());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const &x = saved[0], &weight = saved[1], &dy = grads[0];
    at::ScalarType const weight_type = ctx->saved_data["weight_type"].toScalarType();
    return {ctx->needs_input_grad(0) ? gemm_of_rows(dy, weight) : Tensor(),
            ctx->needs_input_grad(1) ? gemm_over_rows(dy.t(), x).to(weight_type) : Tensor()};
  }
};

struct RowDot : Function<RowDot> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& weight_in) {
    Tensor const x = x_in.contiguous(), weight = weight_in.contiguous();
    ctx->save_for_backward({x, weight});
    return backend_for(x).row_dot(x, weight);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    auto const [dx, dweight] = backend_for(saved[0]).row_dot_backward(grads[0].contiguous(), saved[0], saved[1]);
    return {dx, dweight};
  }
};

}  // namespace

Tensor linear(Tensor const& x_RI, Tensor const& weight_OI) {
  RECORD_FUNCTION("ops::linear", c10::ArrayRef<c10::IValue const>());
  return Linear::apply(x_RI, weight_OI);
}

Tensor row_dot(Tensor const& x_ND, Tensor const& weight_D) {
  RECORD_FUNCTION("ops::row_dot", c10::ArrayRef<c10::IValue const>());
  return RowDot::apply(x_ND, weight_D);
}

at::TensorOptions wide_options(Tensor const& x) { return x.scalar_type() == at::kDouble ? x.options() : x.options().dtype(at::kFloat); }

}  // namespace isobath::ops
