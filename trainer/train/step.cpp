#include "trainer/train/step.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

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
  own_routing_NC = at::zeros_like(routing_NC);
}

void MetricWindow::clear() {
  sums_S.zero_();
  counts_S.zero_();
  skipped.zero_();
  predictor_skipped.zero_();
  routing_NC.zero_();
}

void MetricWindow::gather(Ranks const& ranks) {
  ranks.sum(own_routing_NC);
  routing_NC.add_(own_routing_NC);
  own_routing_NC.zero_();
}

std::vector<TensorPart> MetricWindow::tensors() const {
  return {whole_tensor("window.sums", sums_S),
          whole_tensor("window.counts", counts_S),
          whole_tensor("window.skipped", skipped),
          whole_tensor("window.streak", streak),
          whole_tensor("window.predictor_skipped", predictor_skipped),
          whole_tensor("window.predictor_streak", predictor_streak),
          whole_tensor("window.routing", routing_NC)};
}

namespace {

// Matrices, vectors and routers of the language model, then the predictors. Embeddings and head are not among the matrices that may be kept
// in bfloat16: their gradients are sums over many tokens.
std::vector<ParameterGroup> parameter_groups(LanguageModel const& model, TrainConfig const& train) {
  DepthConfig const& depth = model.depth_config();
  bool const own_settings = depth.router_lr != 1 || depth.router_weight_decay != 0;
  ParameterGroup matrices{{}, train.weight_decay}, block_matrices{{}, train.weight_decay}, vectors,
      routers{{}, depth.router_weight_decay, depth.router_lr}, predictors;
  predictors.lr_factor = depth.predictor_lr;
  block_matrices.compute_type = model.compute_type();
  std::set<std::string> of_blocks;
  for (TrainedParameter const& parameter : model.parameters_of({"blocks"})) of_blocks.insert(parameter.name);
  for (auto const& [name, tensor, role] : model.trained()) {
    if (!tensor.requires_grad()) continue;  // frozen
    ParameterGroup& group = of_blocks.contains(name)               ? block_matrices
                            : role == Role::matrix                 ? matrices
                            : role == Role::predictor              ? predictors
                            : role == Role::router && own_settings ? routers
                                                                   : vectors;
    group.parameters.push_back(whole_tensor(name, tensor));
  }
  return {matrices, block_matrices, vectors, routers, predictors};
}

}  // namespace

void Optimizers::zero_grad() {
  language_model.zero_grad();
  predictor.zero_grad();
  if (exchange) exchange->zero_grad();
}

void Optimizers::step(double learning_rate) {
  language_model.step(learning_rate);
  if (!predictor.empty()) predictor.step(learning_rate);
  if (exchange) exchange->gather_parameters();
}

Optimizers make_optimizers(LanguageModel const& model, TrainConfig const& train, ParallelConfig const& parallel, Ranks const& ranks) {
  std::vector<ParameterGroup> groups = parameter_groups(model, train);
  bool const has_predictors = !groups.back().parameters.empty();
  AdamWSettings settings{train.betas[0], train.betas[1], train.eps, train.clip_norm};
  std::shared_ptr<GradientExchange> exchange;
  if (!ranks.alone()) {
    exchange = std::make_shared<GradientExchange>(ranks, groups, parallel);
    groups = exchange->own_groups();
    if (exchange->shards()) settings.sum_over_parts = [&ranks](at::Tensor const& number) { ranks.sum(number); };
  }
  ParameterGroup const predictors = std::move(groups.back());
  groups.pop_back();
  AdamW language_model("language_model", groups, settings);
  if (!has_predictors) settings.sum_over_parts = {};
  return {std::move(language_model), AdamW("predictor", {predictors}, settings), exchange};
}

namespace {

// The values of one step, summed over its micro-batches.
class StepValues {
 public:
  explicit StepValues(at::TensorOptions const& options) : options_(options) {}

  void add(MetricWindow::Value which, at::Tensor const& value, double factor) {
    if (!value.defined()) return;
    at::Tensor& sum = sums_[which];
    sum = (sum.defined() ? sum : at::zeros({}, options_)).add(value.detach().to(at::kDouble), factor);
  }
  // share: the micro-batch's share of the batch.
  void add_auxiliary_losses(ModelOutput const& output, double share) {
    add(MetricWindow::router_loss, output.router_loss, share);
    add(MetricWindow::predictor_loss, output.predictor_loss, share);
    add(MetricWindow::z_loss, output.z_loss, share);
    add(MetricWindow::gate_loss, output.gate_loss, share);
  }
  // NaN stands for values that the model does not have.
  at::Tensor stacked() {
    for (at::Tensor& value : sums_)
      if (!value.defined()) value = at::full({}, std::numeric_limits<double>::quiet_NaN(), options_);
    return at::stack(sums_);
  }

 private:
  at::TensorOptions options_;
  std::vector<at::Tensor> sums_ = std::vector<at::Tensor>(MetricWindow::values);
};

// Adds the values of one step to the window.
void record_step(at::Tensor const& values_S, Optimizers const& optimizers, MetricWindow& window) {
  at::Tensor const finite_S = at::isfinite(values_S);
  window.sums_S.add_(at::where(finite_S, values_S, at::zeros({}, window.sums_S.options())));
  window.counts_S.add_(finite_S);
  window.skipped.add_(optimizers.language_model.skipped());
  window.streak.add_(1).mul_(optimizers.language_model.skipped());
  if (!optimizers.predictor.empty()) {
    window.predictor_skipped.add_(optimizers.predictor.skipped());
    window.predictor_streak.add_(1).mul_(optimizers.predictor.skipped());
  }
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
  StepValues values(window.sums_S.options());
  double const per_target = 1.0 / static_cast<double>(std::max<int64_t>(1, batch.target_count));

  StepStatistics statistics;
  optimizers.zero_grad();
  for (int64_t first = 0; first < batch.sequences; first += settings.micro_sequences) {
    // 1 batch
    int64_t const count = std::min(settings.micro_sequences, batch.sequences - first);
    double const share = static_cast<double>(count) / static_cast<double>(batch.whole_sequences);

    // 2 forward
    Routing const routing = settings.threshold_training && place.step > 0 ? Routing::causal : Routing::topk;
    ModelInput const input = batch.input(first, count);
    std::optional<ops::Distillation> const distillation = settings.teaching.distillation(batch, first, count);
    int64_t const first_row = (batch.first_sequence + first) * batch.tokens_BT.size(1);
    ModelOutput output = model.forward(input, routing, {settings.seed, place.step, first_row});
    at::Tensor loss_sum = model.training_loss_sum(output, batch.targets_N(first, count), distillation ? &*distillation : nullptr);
    at::Tensor const total = with_auxiliary_losses(loss_sum.mul(per_target), output, settings, share);

    // 3 backward
    if (!total.requires_grad())
      throw Error(ExitCode::config, "nothing that train.freeze leaves to train has a part in the loss (depth.gate: none trains no router)");
    if (optimizers.exchange && first + count == batch.sequences) optimizers.exchange->arm();
    total.backward();

    at::NoGradGuard const no_grad;
    if (distillation) {
      loss_sum = loss_sum.sub(output.divergence_sum, distillation->weight * std::pow(distillation->temperature, 2));
      values.add(MetricWindow::divergence, output.divergence_sum, per_target);
    }
    values.add(MetricWindow::loss, loss_sum, per_target);
    values.add_auxiliary_losses(output, share);
    if (output.routing_NC.defined()) window.own_routing_NC.add_(output.routing_NC);
    statistics.add(output.statistics);
  }

  // 4 sums over the ranks
  at::NoGradGuard const no_grad;
  at::Tensor const values_S = values.stacked();
  if (optimizers.exchange) optimizers.exchange->finish(values_S);

  // 5 update
  optimizers.step(place.learning_rate);

  // 6 what is learned outside the gradient
  statistics.updated = optimizers.language_model.skipped().eq(0);
  statistics.progress = place.progress_after;
  statistics.ranks = settings.ranks;
  std::string const changed = model.end_of_step(statistics);

  // 7 record
  values_S.select(0, MetricWindow::grad_norm).copy_(optimizers.language_model.grad_norm());
  record_step(values_S, optimizers, window);
  if (!optimizers.exchange) window.gather(one_process());
  return changed;
}

}  // namespace isobath
