#include "nn/ops/ops.h"

#include <ATen/ops/ones.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/backend/backend.h"

namespace isobath::ops {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

struct RmsNorm : Function<RmsNorm> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& weight, double eps) {
    Tensor const x = x_in.reshape({-1, x_in.size(-1)}).contiguous();
    auto const [y, rstd] = backend_for(x).rms_norm(x, weight, eps);
    ctx->save_for_backward({x, weight, rstd});
    return y.view(x_in.sizes());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const& x = saved[0];
    auto const [dx, dweight] = backend_for(x).rms_norm_backward(grads[0].reshape(x.sizes()).contiguous(), x, saved[1], saved[2]);
    return {dx.view(grads[0].sizes()), dweight, Tensor()};
  }
};

}  // namespace

Tensor rms_norm(Tensor const& x_RD, Tensor const& weight_D, double eps) {
  RECORD_FUNCTION("ops::rms_norm", c10::ArrayRef<c10::IValue const>());
  return RmsNorm::apply(x_RD, weight_D, eps);
}

Tensor unit_rms(Tensor const& x_RD) { return rms_norm(x_RD, at::ones({x_RD.size(1)}, wide_options(x_RD)), 1e-6); }

}  // namespace isobath::ops
