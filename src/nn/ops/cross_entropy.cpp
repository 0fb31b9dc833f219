#include "nn/ops/ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>

#include "nn/backend/backend.h"
#include "nn/ops/gemm.h"

namespace isobath::ops {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

// Rows whose logits exist at one time. On the CPU about 4 MiB of floats, which the last-level cache can hold; elsewhere 512 MiB of
// bfloat16, because each chunk reads and writes the whole gradient of the weight.
int64_t chunk_rows(Tensor const& x, int64_t vocab) {
  if (x.is_cpu()) return std::max<int64_t>(64, (int64_t{1} << 20) / vocab);
  return std::max<int64_t>(1, (int64_t{1} << 28) / vocab / 256) * 256;
}

struct LinearCrossEntropy : Function<LinearCrossEntropy> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& wide_weight, Tensor const& targets,
                        std::optional<Tensor> const& losses) {
    Tensor const x = x_in.contiguous(), weight = wide_weight.to(x.scalar_type());
    int64_t const rows = x.size(0), step = chunk_rows(x, weight.size(0));
    Tensor loss = at::zeros({}, wide_weight.options()), dx = at::empty_like(x), dweight;
    if (wide_weight.requires_grad()) dweight = at::zeros_like(wide_weight);
    for (int64_t first = 0; first < rows; first += step) {
      int64_t const n = std::min(step, rows - first);
      Tensor const x_chunk = x.narrow(0, first, n), logits = gemm(x_chunk, weight.t());
      Tensor const losses_n = backend_for(x).cross_entropy(logits, targets.narrow(0, first, n), /*gradients=*/true);
      loss += losses_n.sum();
      if (losses) losses->narrow(0, first, n).copy_(losses_n);
      gemm_into(dx.narrow(0, first, n), logits, weight);
      if (dweight.defined()) gemm_into(dweight, logits.t(), x_chunk, /*accumulate=*/true);
    }
    ctx->save_for_backward({dx, dweight});
    return loss;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    return {(saved[0] * grads[0]).to(saved[0].scalar_type()), saved[1].defined() ? saved[1] * grads[0] : Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor linear_cross_entropy(Tensor const& x_ND, Tensor const& weight_VD, Tensor const& targets_N, Tensor* losses_N) {
  RECORD_FUNCTION("ops::linear_cross_entropy", c10::ArrayRef<c10::IValue const>());
  bool const differentiable = at::GradMode::is_enabled() && (x_ND.requires_grad() || weight_VD.requires_grad());
  if (!differentiable) {
    Tensor const losses = token_losses(x_ND, weight_VD, targets_N);
    if (losses_N) *losses_N = losses;
    return losses.sum();
  }
  if (losses_N) *losses_N = at::empty({x_ND.size(0)}, weight_VD.options().requires_grad(false));
  return LinearCrossEntropy::apply(x_ND, weight_VD, targets_N, losses_N ? std::optional<Tensor>(*losses_N) : std::nullopt);
}

Tensor token_losses(Tensor const& x_ND, Tensor const& weight_VD, Tensor const& targets_N) {
  at::NoGradGuard no_grad;
  Tensor const weight = weight_VD.to(x_ND.scalar_type());
  int64_t const rows = x_ND.size(0), step = chunk_rows(x_ND, weight.size(0));
  Tensor losses_N = at::empty({rows}, weight_VD.options());
  for (int64_t first = 0; first < rows; first += step) {
    int64_t const n = std::min(step, rows - first);
    Tensor const logits = gemm(x_ND.narrow(0, first, n), weight.t());
    losses_N.narrow(0, first, n).copy_(backend_for(x_ND).cross_entropy(logits, targets_N.narrow(0, first, n), /*gradients=*/false));
  }
  return losses_N;
}

Tensor binary_cross_entropy_sum(Tensor const& logits_N, Tensor const& targets_N) {
  return at::binary_cross_entropy_with_logits(logits_N, targets_N, {}, {}, at::Reduction::Sum);
}

}  // namespace isobath::ops
