#include "nn/ops/ops.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/zeros.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "nn/backend/backend.h"

namespace isobath::ops {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

// The rows are distinct, which index_select's own backward pass cannot know: it adds gradients where copying them is enough.
struct GatherRows : Function<GatherRows> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x, Tensor const& index) {
    ctx->save_for_backward({index});
    ctx->saved_data["rows"] = x.size(0);
    return x.index_select(0, index);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    Tensor const index = ctx->get_saved_variables()[0], &dy = grads[0];
    Tensor const dx = at::zeros({ctx->saved_data["rows"].toInt(), dy.size(1)}, dy.options());
    return {dx.index_copy_(0, index, dy), Tensor()};
  }
};

struct ScatterAddRows : Function<ScatterAddRows> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& index, Tensor const& delta_in,
                        std::optional<Tensor> const& weight_in) {
    Tensor const x = x_in.contiguous(), delta = delta_in.contiguous(), weight = weight_in ? weight_in->contiguous() : Tensor();
    ctx->save_for_backward({index, delta, weight});
    return backend_for(x).scatter_add_rows(x, index, delta, weight);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const dy = grads[0].contiguous();
    auto const [ddelta, dweight] = backend_for(dy).scatter_add_rows_backward(dy, saved[0], saved[1], saved[2]);
    return {dy, Tensor(), ddelta, dweight};
  }
};

}  // namespace

Tensor gather_rows(Tensor const& x_ND, Tensor const& index_R) {
  RECORD_FUNCTION("ops::gather_rows", c10::ArrayRef<c10::IValue const>());
  return GatherRows::apply(x_ND, index_R);
}

Tensor scatter_add_rows(Tensor const& x_ND, Tensor const& index_R, Tensor const& delta_RD, Tensor const& weight_R) {
  RECORD_FUNCTION("ops::scatter_add_rows", c10::ArrayRef<c10::IValue const>());
  return ScatterAddRows::apply(x_ND, index_R, delta_RD, weight_R.defined() ? std::optional<Tensor>(weight_R) : std::nullopt);
}

Tensor look_up(Tensor const& table_V, Tensor const& index_N) { return at::embedding(table_V.unsqueeze(1), index_N).squeeze(1); }

}  // namespace isobath::ops
