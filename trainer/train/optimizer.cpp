#include "trainer/train/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

namespace isobath {

AdamW::AdamW(std::string name, std::vector<ParameterGroup> const& groups, AdamWSettings const& settings)
    : name_(std::move(name)), settings_(settings) {
  at::TensorOptions options = at::kFloat;
  for (ParameterGroup const& group : groups) {
    size_t const first = parameters_.size();
    for (TensorPart const& parameter : group.parameters) {
      parameters_.push_back(parameter);
      exp_avgs_.push_back(at::zeros_like(parameter.values));
      exp_avg_sqs_.push_back(at::zeros_like(parameter.values));
      options = options.device(parameter.values.device());
    }
    ranges_.push_back({first, parameters_.size(), group.weight_decay, group.lr_factor});
  }
  steps_ = at::zeros({}, options);
  grad_norm_ = at::zeros({}, options);
  skipped_ = at::zeros({}, options);
}

void AdamW::zero_grad() {
  // Gradients become undefined instead of zero: the first backward pass of a step then stores its tensor instead of adding to one.
  for (TensorPart& parameter : parameters_) parameter.values.mutable_grad() = at::Tensor();
}

void AdamW::step(double learning_rate) {
  at::NoGradGuard const no_grad;
  std::vector<at::Tensor> gradients;
  for (TensorPart const& parameter : parameters_) {
    if (parameter.values.grad().defined()) gradients.push_back(parameter.values.grad());
  }
  if (gradients.empty() && !settings_.sum_over_parts) return;
  grad_norm_ =
      gradients.empty() ? at::zeros_like(grad_norm_) : at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients))).to(at::kFloat);
  if (settings_.sum_over_parts) {
    at::Tensor const squares = grad_norm_.to(at::kDouble).square();
    settings_.sum_over_parts(squares);
    grad_norm_ = squares.sqrt().to(at::kFloat);
  }
  at::Tensor const finite = at::isfinite(grad_norm_);
  skipped_ = finite.logical_not().to(at::kFloat);
  steps_.add_(finite);
  // The fused update divides gradients by this before it uses them: 1 / clipping coefficient.
  at::Tensor const divisor = settings_.clip_norm > 0 ? grad_norm_.div(settings_.clip_norm).clamp_min_(1) : at::ones_like(grad_norm_);

  for (Range const& range : ranges_) {
    std::vector<at::Tensor> parameters, grads, exp_avgs, exp_avg_sqs;
    for (size_t i = range.first; i < range.last; ++i) {
      at::Tensor const& parameter = parameters_[i].values;
      if (!parameter.grad().defined()) continue;
      parameters.push_back(parameter);
      grads.push_back(parameter.grad());
      exp_avgs.push_back(exp_avgs_[i]);
      exp_avg_sqs.push_back(exp_avg_sqs_[i]);
    }
    if (parameters.empty()) continue;
    std::vector<at::Tensor> const steps(parameters.size(), steps_);
    at::_fused_adamw_(parameters, grads, exp_avgs, exp_avg_sqs, {}, steps, range.lr_factor * learning_rate, settings_.beta1,
                      settings_.beta2, range.weight_decay, settings_.eps, /*amsgrad=*/false, /*maximize=*/false, divisor, skipped_);
  }
}

std::vector<TensorPart> AdamW::state() const {
  std::vector<TensorPart> parts;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    auto const& [name, shape, first, values] = parameters_[i];
    parts.push_back({name_ + ".exp_avg." + name, shape, first, exp_avgs_[i]});
    parts.push_back({name_ + ".exp_avg_sq." + name, shape, first, exp_avg_sqs_[i]});
  }
  if (!empty()) parts.push_back(whole_tensor(name_ + ".steps", steps_));
  return parts;
}

}  // namespace isobath
