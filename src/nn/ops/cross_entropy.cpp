#include "nn/ops/ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

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

// Adds the gradient of weight * temperature^2 * KL(teacher || model) with respect to the model's logits_RV to gradients_RV; returns
// KL(teacher || model) of each row. Rows without a target: 0.
Tensor add_distillation(Tensor const& logits_RV, Tensor const& teacher_logits_RV, Tensor const& targets_R, Distillation const& distillation,
                        Tensor const& gradients_RV) {
  double const temperature = distillation.temperature;
  at::ScalarType const wide = logits_RV.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  Tensor const keep_R1 = targets_R.ge(0).to(wide).unsqueeze(1);
  Tensor const log_q_RV = at::log_softmax(logits_RV.to(wide).div(temperature), 1);
  Tensor const log_p_RV = at::log_softmax(teacher_logits_RV.to(wide).div_(temperature), 1), p_RV = log_p_RV.exp();
  Tensor const divergence_R = log_p_RV.sub_(log_q_RV).mul_(p_RV).sum(1).mul_(keep_R1.squeeze(1));
  gradients_RV.add_(log_q_RV.exp_().sub_(p_RV).mul_(keep_R1), distillation.weight * temperature);
  return divergence_R;
}

struct LinearCrossEntropy : Function<LinearCrossEntropy> {
  // by_row: its defined tensors are filled. distillation: may be null.
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& wide_weight, Tensor const& targets, RowLosses const& by_row,
                        Distillation const* distillation) {
    Tensor const x = x_in.contiguous(), weight = wide_weight.to(x.scalar_type());
    Tensor const teacher_weight = distillation ? distillation->teacher_weight_VD.to(distillation->teacher_x_ND.scalar_type()) : Tensor();
    int64_t const rows = x.size(0), step = chunk_rows(x, weight.size(0));
    Tensor loss = at::zeros({}, wide_weight.options()), dx = at::empty_like(x), dweight;
    if (wide_weight.requires_grad()) dweight = at::zeros_like(wide_weight);
    for (int64_t first = 0; first < rows; first += step) {
      int64_t const n = std::min(step, rows - first);
      Tensor const x_chunk = x.narrow(0, first, n), logits = gemm(x_chunk, weight.t()), targets_n = targets.narrow(0, first, n);
      Tensor const own_logits = distillation ? logits.clone() : Tensor();
      Tensor const losses_n = backend_for(x).cross_entropy(logits, targets_n, /*gradients=*/true);
      loss += losses_n.sum();
      if (by_row.losses_N.defined()) by_row.losses_N.narrow(0, first, n).copy_(losses_n);
      if (distillation) {
        Tensor const teacher_logits = gemm(distillation->teacher_x_ND.narrow(0, first, n), teacher_weight.t());
        Tensor const divergences_n = add_distillation(own_logits, teacher_logits, targets_n, *distillation, logits);
        loss.add_(divergences_n.sum(), distillation->weight * distillation->temperature * distillation->temperature);
        if (by_row.divergences_N.defined()) by_row.divergences_N.narrow(0, first, n).copy_(divergences_n);
      }
      gemm_into(dx.narrow(0, first, n), logits, weight);
      if (dweight.defined()) gemm_into(dweight, logits.t(), x_chunk, /*accumulate=*/true);
    }
    ctx->save_for_backward({dx, dweight});
    return loss;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    return {(saved[0] * grads[0]).to(saved[0].scalar_type()), saved[1].defined() ? saved[1] * grads[0] : Tensor(), Tensor(), Tensor(),
            Tensor()};
  }
};

}  // namespace

Tensor linear_cross_entropy(Tensor const& x_ND, Tensor const& weight_VD, Tensor const& targets_N, RowLosses* by_row,
                            Distillation const* distillation) {
  RECORD_FUNCTION("ops::linear_cross_entropy", c10::ArrayRef<c10::IValue const>());
  bool const differentiable = at::GradMode::is_enabled() && (x_ND.requires_grad() || weight_VD.requires_grad());
  if (!differentiable && distillation == nullptr) {
    Tensor const losses = token_losses(x_ND, weight_VD, targets_N);
    if (by_row) by_row->losses_N = losses;
    return losses.sum();
  }
  RowLosses rows;
  if (by_row) {
    rows.losses_N = at::empty({x_ND.size(0)}, weight_VD.options().requires_grad(false));
    if (distillation) rows.divergences_N = at::empty_like(rows.losses_N);
    *by_row = rows;
  }
  return LinearCrossEntropy::apply(x_ND, weight_VD, targets_N, rows, distillation);
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
