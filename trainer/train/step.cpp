#include "trainer/train/step.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"

namespace isobath {

MetricWindow::MetricWindow(int64_t routed_layers, at::Device device) {
  auto const options = at::TensorOptions().dtype(at::kDouble).device(device);
  sums_S = at::zeros({values}, options);
  counts_S = at::zeros({values}, options);
  skipped = at::zeros({}, options);
  streak = at::zeros({}, options);
  predictor_skipped = at::zeros({}, options);
  predictor_streak = at::zeros({}, options);
  routing_NC = at::zeros({routed_layers, routing_columns}, options.dtype(at::kLong));
}

void MetricWindow::clear() {
  sums_S.zero_();
  counts_S.zero_();
  skipped.zero_();
  predictor_skipped.zero_();
  routing_NC.zero_();
}

NamedParameters MetricWindow::tensors() const {
  return {{"window.sums", sums_S},
          {"window.counts", counts_S},
          {"window.skipped", skipped},
          {"window.streak", streak},
          {"window.predictor_skipped", predictor_skipped},
          {"window.predictor_streak", predictor_streak},
          {"window.routing", routing_NC}};
}

Optimizers make_optimizers(LanguageModel const& model, TrainConfig const& train) {
  DepthConfig const& depth = model.depth_config();
  bool const own_settings = depth.router_lr != 1 || depth.router_weight_decay != 0;
  ParameterGroup matrices{{}, train.weight_decay}, vectors, routers{{}, depth.router_weight_decay, depth.router_lr}, predictors;
  for (auto const& [name, tensor, role] : model.trained()) {
    if (!tensor.requires_grad()) continue;  // frozen
    ParameterGroup& group = role == Role::matrix                   ? matrices
                            : role == Role::predictor              ? predictors
                            : role == Role::router && own_settings ? routers
                                                                   : vectors;
    group.parameters.emplace_back(name, tensor);
  }
  AdamWSettings const settings{train.betas[0], train.betas[1], train.eps, train.clip_norm};
  return {AdamW("language_model", {matrices, vectors, routers}, settings), AdamW("predictor", {predictors}, settings)};
}

namespace {

// Adds the values of one step to the window; undefined: the model has none.
void record_step(std::vector<at::Tensor> step_values, Optimizers const& optimizers, MetricWindow& window) {
  at::Tensor const zero = at::zeros({}, window.sums_S.options());
  for (at::Tensor& value : step_values) {
    if (!value.defined()) value = at::full({}, std::numeric_limits<double>::quiet_NaN(), zero.options());
  }
  at::Tensor const values_S = at::stack(step_values);
  at::Tensor const finite_S = at::isfinite(values_S);
  window.sums_S.add_(at::where(finite_S, values_S, zero));
  window.counts_S.add_(finite_S);
  window.skipped.add_(optimizers.language_model.skipped());
  window.streak.add_(1).mul_(optimizers.language_model.skipped());
  if (!optimizers.predictor.empty()) {
    window.predictor_skipped.add_(optimizers.predictor.skipped());
    window.predictor_streak.add_(1).mul_(optimizers.predictor.skipped());
  }
}

// What the teacher says of a micro-batch; nothing without a teacher.
std::optional<ops::Distillation> ask_teacher(StepSettings const& settings, ModelInput const& input) {
  if (!settings.teacher) return std::nullopt;
  at::NoGradGuard const no_grad;
  return ops::Distillation{settings.teacher->forward(input, Routing::topk, {}).x_ND, settings.teacher->head_weight(),
                           settings.distill_weight, settings.distill_temperature};
}

// Adds the auxiliary losses of routers, predictors and gates to `total`, the loss of a micro-batch. share: the micro-batch's share of the
// batch.
at::Tensor with_auxiliary_losses(at::Tensor total, ModelOutput const& output, StepSettings const& settings, double share) {
  if (output.router_loss.defined()) total = total.add(output.router_loss, settings.bce_weight * share);
  if (output.predictor_loss.defined()) total = total.add(output.predictor_loss, share);
  if (output.z_loss.defined()) total = total.add(output.z_loss, settings.z_loss_weight * share);
  if (output.gate_loss.defined()) total = total.add(output.gate_loss, share);
  return total;
}

}  // namespace

std::string train_step(LanguageModel& model, Optimizers& optimizers, DeviceBatch const& batch, StepSettings const& settings,
                       StepPlace const& place, MetricWindow& window) {
  if (model.plan().capacity_changes()) model.set_capacities(model.plan().step_capacities(settings.seed, place.step, place.progress));
  std::vector<at::Tensor> step_values(MetricWindow::values);  // of this step, summed over micro-batches; undefined: the model has none
  auto const add = [&](MetricWindow::Value which, at::Tensor const& value, double factor) {
    at::Tensor& sum = step_values[which];
    sum = (sum.defined() ? sum : at::zeros({}, window.sums_S.options())).add(value.detach().to(at::kDouble), factor);
  };
  double const per_target = 1.0 / static_cast<double>(std::max<int64_t>(1, batch.target_count));

  StepStatistics statistics;
  optimizers.language_model.zero_grad();
  optimizers.predictor.zero_grad();
  for (int64_t first = 0; first < batch.sequences; first += settings.micro_sequences) {
    // 1 batch
    int64_t const count = std::min(settings.micro_sequences, batch.sequences - first);
    double const share = static_cast<double>(count) / static_cast<double>(batch.sequences);

    // 2 forward
    Routing const routing = settings.threshold_training && place.step > 0 ? Routing::causal : Routing::topk;
    ModelInput const input = batch.input(first, count);
    std::optional<ops::Distillation> const distillation = ask_teacher(settings, input);
    ModelOutput output = model.forward(input, routing, {settings.seed, place.step, first * batch.tokens_BT.size(1)});
    at::Tensor loss_sum = model.training_loss_sum(output, batch.targets_N(first, count), distillation ? &*distillation : nullptr);
    at::Tensor const total = with_auxiliary_losses(loss_sum.mul(per_target), output, settings, share);

    // 3 backward
    if (!total.requires_grad())
      throw Error(ExitCode::config, "nothing that train.freeze leaves to train has a part in the loss (depth.gate: none trains no router)");
    total.backward();

    at::NoGradGuard const no_grad;
    if (distillation) {
      loss_sum = loss_sum.sub(output.divergence_sum, settings.distill_weight * std::pow(settings.distill_temperature, 2));
      add(MetricWindow::divergence, output.divergence_sum, per_target);
    }
    add(MetricWindow::loss, loss_sum, per_target);
    if (output.router_loss.defined()) add(MetricWindow::router_loss, output.router_loss, share);
    if (output.predictor_loss.defined()) add(MetricWindow::predictor_loss, output.predictor_loss, share);
    if (output.z_loss.defined()) add(MetricWindow::z_loss, output.z_loss, share);
    if (output.gate_loss.defined()) add(MetricWindow::gate_loss, output.gate_loss, share);
    if (output.routing_NC.defined()) window.routing_NC.add_(output.routing_NC);
    statistics.add(output.statistics);
  }

  // 4 update
  optimizers.language_model.step(place.learning_rate);
  if (!optimizers.predictor.empty()) optimizers.predictor.step(place.learning_rate);

  // 5 what is learned outside the gradient
  at::NoGradGuard const no_grad;
  statistics.updated = optimizers.language_model.skipped().eq(0);
  statistics.progress = place.progress_after;
  std::string const changed = model.end_of_step(statistics);

  // 6 record
  add(MetricWindow::grad_norm, optimizers.language_model.grad_norm(), 1);
  record_step(std::move(step_values), optimizers, window);
  return changed;
}

}  // namespace isobath
