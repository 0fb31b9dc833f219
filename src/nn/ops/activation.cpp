#include "nn/ops/ops.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/backend/backend.h"

namespace isobath::ops {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

struct SwiGlu : Function<SwiGlu> {
  static Tensor forward(AutogradContext* ctx, Tensor const& gate_up_in) {
    Tensor const gate_up = gate_up_in.contiguous();
    ctx->save_for_backward({gate_up});
    return backend_for(gate_up).swiglu(gate_up);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    Tensor const gate_up = ctx->get_saved_variables()[0];
    return {backend_for(gate_up).swiglu_backward(grads[0].contiguous(), gate_up)};
  }
};

struct Gelu : Function<Gelu> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in) {
    Tensor const x = x_in.contiguous();
    ctx->save_for_backward({x});
    return backend_for(x).gelu(x);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    Tensor const x = ctx->get_saved_variables()[0];
    return {backend_for(x).gelu_backward(grads[0].contiguous(), x)};
  }
};

}  // namespace

Tensor swiglu(Tensor const& gate_up_RX) {
  RECORD_FUNCTION("ops::swiglu", c10::ArrayRef<c10::IValue const>());
  return SwiGlu::apply(gate_up_RX);
}

Tensor gelu(Tensor const& x_RF) {
  RECORD_FUNCTION("ops::gelu", c10::ArrayRef<c10::IValue const>());
  return Gelu::apply(x_RF);
}

}  // namespace isobath::ops
