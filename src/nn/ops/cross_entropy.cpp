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

// Logarithms of the probabilities at a temperature, in the wide type. May overwrite the logits.
Tensor log_probabilities(Tensor const& logits_RV, double temperature) {
  return at::log_softmax(logits_RV.to(logits_RV.scalar_type() == at::kDouble ? at::kDouble : at::kFloat).div_(temperature), 1);
}

// KL(teacher || model) of each row, and its gradient with respect to the model's logits over the temperature.
struct Divergence {
  Tensor of_R, gradient_RV;
};

// Overwrites both.
Divergence divergence_from(Tensor const& log_p_RV, Tensor const& log_q_RV) {
  Tensor const p_RV = log_p_RV.exp();
  Tensor const divergence_R = log_p_RV.sub_(log_q_RV).mul_(p_RV).sum(1);
  return {divergence_R, log_q_RV.exp_().sub_(p_RV)};
}

// The same between distributions over the teacher's likeliest tokens and the rest, one event. The gradient is q - p for these tokens and
// q (1 - rest of p / rest of q) for the others. Overwrites log_q_RV.
Divergence divergence_from(LikeliestTokens const& teacher, Tensor const& log_q_RV) {
  constexpr double least = 1e-10;  // of a rest, whose logarithm is taken: rounding may leave nothing of it
  Tensor const ids_RK = teacher.ids_NK.to(at::kLong), log_p_RK = teacher.log_p_NK.to(log_q_RV.scalar_type()), p_RK = log_p_RK.exp();
  Tensor const log_q_RK = log_q_RV.gather(1, ids_RK), q_RK = log_q_RK.exp();
  Tensor const others_q_RV = log_q_RV.exp_().scatter_(1, ids_RK, 0);
  Tensor const rest_q_R1 = others_q_RV.sum(1, /*keepdim=*/true).clamp_min_(least);
  Tensor const rest_p_R1 = p_RK.sum(1, /*keepdim=*/true).neg_().add_(1).clamp_min_(least);
  Tensor const of_tokens_R = log_p_RK.sub(log_q_RK).mul_(p_RK).sum(1);
  Tensor const of_rest_R1 = rest_p_R1.log().sub_(rest_q_R1.log()).mul_(rest_p_R1);
  Tensor const gradient_RV = others_q_RV.mul_(rest_p_R1.div(rest_q_R1).neg_().add_(1)).scatter_(1, ids_RK, q_RK.sub(p_RK));
  return {of_tokens_R.add_(of_rest_R1.squeeze(1)), gradient_RV};
}

// Adds the gradient of weight * temperature^2 * KL(teacher || model) with respect to the model's logits to gradients_RV, for the rows from
// `first` on; returns KL(teacher || model) of each of them. Rows without a target: 0. May overwrite the logits.
Tensor add_distillation(Tensor const& logits_RV, Tensor const& targets_R, Distillation const& distillation, int64_t first,
                        Tensor const& gradients_RV) {
  double const temperature = distillation.temperature;
  int64_t const rows = logits_RV.size(0);
  Tensor const log_q_RV = log_probabilities(logits_RV, temperature), keep_R1 = targets_R.ge(0).to(log_q_RV.scalar_type()).unsqueeze(1);
  Divergence divergence;
  if (auto const* const states = std::get_if<TeacherStates>(&distillation.teacher)) {
    Tensor const teacher_logits_RV = gemm(states->x_ND.narrow(0, first, rows), states->weight_VD.t());
    divergence = divergence_from(log_probabilities(teacher_logits_RV, temperature), log_q_RV);
  } else {
    auto const& [ids_NK, log_p_NK] = std::get<LikeliestTokens>(distillation.teacher);
    divergence = divergence_from(LikeliestTokens{ids_NK.narrow(0, first, rows), log_p_NK.narrow(0, first, rows)}, log_q_RV);
  }
  gradients_RV.add_(divergence.gradient_RV.mul_(keep_R1), distillation.weight * temperature);
  return divergence.of_R.mul_(keep_R1.squeeze(1));
}

// With the head of a teacher in the type of its states.
Distillation with_narrow_head(Distillation distillation) {
  if (auto* const states = std::get_if<TeacherStates>(&distillation.teacher))
    states->weight_VD = states->weight_VD.to(states->x_ND.scalar_type());
  return distillation;
}

struct LinearCrossEntropy : Function<LinearCrossEntropy> {
  // by_row: its defined tensors are filled. distillation: may be null.
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& wide_weight, Tensor const& targets, RowLosses const& by_row,
                        Distillation const* distillation) {
    Tensor const x = x_in.contiguous(), weight = wide_weight.to(x.scalar_type());
    Distillation const taught = distillation ? with_narrow_head(*distillation) : Distillation{};
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
        Tensor const divergences_n = add_distillation(own_logits, targets_n, taught, first, logits);
        loss.add_(divergences_n.sum(), taught.weight * taught.temperature * taught.temperature);
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

LikeliestTokens likeliest_tokens(Tensor const& x_ND, Tensor const& weight_VD, double temperature, int64_t K) {
  at::NoGradGuard no_grad;
  Tensor const weight = weight_VD.to(x_ND.scalar_type());
  int64_t const rows = x_ND.size(0), step = chunk_rows(x_ND, weight.size(0));
  LikeliestTokens found{at::empty({rows, K}, x_ND.options().dtype(at::kLong)), at::empty({rows, K}, wide_options(x_ND))};
  for (int64_t first = 0; first < rows; first += step) {
    int64_t const n = std::min(step, rows - first);
    Tensor const logits_RV = gemm(x_ND.narrow(0, first, n), weight.t());
    auto const [log_p_RK, ids_RK] = log_probabilities(logits_RV, temperature).topk(K, 1, /*largest=*/true, /*sorted=*/true);
    found.ids_NK.narrow(0, first, n).copy_(ids_RK);
    found.log_p_NK.narrow(0, first, n).copy_(log_p_RK);
  }
  return found;
}

Tensor binary_cross_entropy_sum(Tensor const& logits_N, Tensor const& targets_N) {
  return at::binary_cross_entropy_with_logits(logits_N, targets_N, {}, {}, at::Reduction::Sum);
}

}  // namespace isobath::ops
