#include "model/depth/scaled/module.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "model/depth/block_rows.h"
#include "nn/ops/ops.h"
#include "nn/router/router.h"

namespace isobath {

namespace {

// Reads from the device whether the model is hardened, and then which rows run.
class ScaledPass : public DepthPass {
 public:
  ScaledPass(ScaledModule const& module, ForwardContext const& context) : DepthPass(context), module_(module), hard_(module.is_hard()) {}

  at::Tensor layer(int64_t index, BlockImpl& block, at::Tensor const& x_ND) override;
  void report(ModelOutput& output) override;

  at::Tensor factors_NL() const;  // magnitudes of the factors, [tokens, layers]

 private:
  RoutedLayer decide(at::Tensor const& factor) const;
  at::Tensor cost() const;

  ScaledModule const& module_;
  bool hard_;
  at::Tensor depth_sum_;             // each layer's mean magnitude of factors, summed over layers
  std::vector<RoutedLayer> layers_;  // scored by the magnitude of their factors
};

RoutedLayer ScaledPass::decide(at::Tensor const& factor) const {
  int64_t const B = context.rows.sequences, T = context.rows.longest;
  RoutedLayer layer;
  layer.score_BT = module_.by_token ? factor.detach().view({B, T}) : factor.detach().abs().mean().view({1, 1}).expand({B, T});
  if (!hard_) {
    layer.causal_BT = at::full({B, T}, true, factor.options().dtype(at::kBool).requires_grad(false));
  } else if (module_.by_token) {
    at::Tensor const trained = module_.threshold.narrow(0, 0, 1), least = module_.is_training() ? trained : trained + module_.cut;
    layer.causal_BT = layer.score_BT.gt(least);
    if (!at::GradMode::is_enabled() && !context.rows.cache) layer.margin_BT = (layer.score_BT - least).abs();
  } else {
    layer.causal_BT = layer.score_BT.ne(0);  // hardening has set the factors of dropped layers to 0
  }
  layer.topk_BT = layer.executed_BT = layer.causal_BT;
  if (hard_ && module_.by_token && !context.replay_BT.empty()) layer.executed_BT = context.replay(layers_.size());
  return layer;
}

at::Tensor ScaledPass::layer(int64_t index, BlockImpl& block, at::Tensor const& x_ND) {
  at::Tensor const factor = module_.scales[static_cast<size_t>(index)]->factor(x_ND);
  RoutedLayer const& decided = layers_.emplace_back(decide(factor));
  if (!hard_) {
    at::Tensor const mean = factor.abs().mean();
    depth_sum_ = depth_sum_.defined() ? depth_sum_ + mean : mean;
  }
  if (hard_ && module_.by_token) {
    at::Tensor index_R;
    Rows const selected = select_ragged(context.rows, decided.executed_BT, index_R);
    if (selected.count == 0) return skip_all_rows(block, module_.keeps_kv, x_ND, context.rows, context.rotary);
    at::Tensor const factor_R = factor.squeeze(1).index_select(0, index_R);
    at::Tensor const delta_RD = selected_delta(block, RoutedPart::block, module_.keeps_kv, x_ND, context, {index_R, selected, factor_R});
    return ops::scatter_add_rows(x_ND, index_R, delta_RD, factor_R);
  }
  if (hard_ && !decided.score_BT.select(0, 0).select(0, 0).is_nonzero()) return x_ND;
  at::Tensor const scaling = factor.to(x_ND.scalar_type());
  at::Tensor const h_ND = x_ND + scaling * block.attention->forward(x_ND, context.rows, context.rotary);
  return h_ND + scaling * block.mlp->forward(h_ND);
}

// cost_weight * max(0, sum of mean factors - mean_depth) / layers. With `scale: token` the previous step's sum decides whether it exceeds
// mean_depth, so that the cost does not depend on the division into micro-batches.
at::Tensor ScaledPass::cost() const {
  if (hard_ || module_.cost_weight == 0) return {};
  at::Tensor const above = depth_sum_ - module_.mean_depth;
  at::Tensor const counted = module_.by_token ? above * module_.depth_sum.gt(module_.mean_depth).squeeze(0) : above.clamp_min(0);
  return counted * (module_.cost_weight / static_cast<double>(module_.layers));
}

at::Tensor ScaledPass::factors_NL() const {
  std::vector<at::Tensor> factors_N;
  for (RoutedLayer const& layer : layers_) factors_N.push_back(layer.score_BT.reshape({-1}));
  return at::stack(factors_N, 1);
}

void ScaledPass::report(ModelOutput& output) {
  output.gate_loss = cost();
  if (context.learns && module_.by_token) output.statistics.push_back(factors_NL());
  report_layers(output, context, module_.layers, module_.keeps_kv, std::move(layers_));
}

}  // namespace

LayerScaleImpl::LayerScaleImpl(ModelConfig const& model, DepthConfig const& depth) {
  if (depth.scale == ScaleBy::token) {
    weight_D = register_parameter("weight", at::empty({model.width}));
    bias = register_parameter("bias", at::empty({1}));
  } else {
    factor_X = register_parameter("factor", at::empty({depth.scale == ScaleBy::channel ? model.width : 1}));
  }
}

at::Tensor LayerScaleImpl::factor(at::Tensor const& x_ND) const {
  if (factor_X.defined()) return factor_X;
  return (ops::row_dot(ops::unit_rms(x_ND), weight_D) + bias).sigmoid().unsqueeze(1);
}

void LayerScaleImpl::weights(std::string const& layer, double init, WeightList& list) const {
  list.constant(layer + "scale.factor", factor_X, Role::router, init);
  if (!weight_D.defined()) return;
  list.random(layer + "scale.weight", weight_D, Role::router, 0.1 / std::sqrt(static_cast<double>(weight_D.size(0))));
  list.constant(layer + "scale.bias", bias, Role::router, std::log(init / (1 - init)));
}

ScaledModule::ScaledModule(ModelConfig const& model, DepthConfig const& depth, int64_t)
    : by_token(depth.scale == ScaleBy::token),
      keeps_kv(depth.skipped_kv == SkippedKv::keep),
      layers(model.layers),
      mean_depth(depth.mean_depth),
      skip_below(depth.skip_below),
      cost_weight(depth.scale_weight),
      threshold_decay(depth.threshold_decay),
      harden_after(depth.harden_after),
      scale_init(depth.scale_init) {
  for (int64_t i = 0; i < layers; ++i)
    scales.push_back(register_module("layer" + std::to_string(i), std::make_shared<LayerScaleImpl>(model, depth)));
  threshold = register_buffer("threshold", at::zeros({2}));
  cut = register_buffer("cut", at::zeros({1}));
  hardened = register_buffer("hardened", at::zeros({1}));
  depth_sum = register_buffer("depth_sum", at::full({1}, static_cast<double>(layers)));
}

std::unique_ptr<DepthPass> ScaledModule::begin(ForwardContext const& context) { return std::make_unique<ScaledPass>(*this, context); }

void ScaledModule::model_weights(WeightList& list) const {
  for (int64_t i = 0; i < layers; ++i) scales[static_cast<size_t>(i)]->weights("model.layers." + std::to_string(i) + ".", scale_init, list);
  list.buffer("model.depth_scale.threshold", threshold, by_token ? skip_below : 0);
  list.buffer("model.depth_scale.cut", cut, 0);
  list.buffer("model.depth_scale.hardened", hardened, 0);
  if (by_token) list.buffer("model.depth_scale.depth_sum", depth_sum, static_cast<double>(layers), /*optional=*/true);
}

std::string ScaledModule::end_of_step(StepStatistics const& step) {
  at::NoGradGuard const no_grad;
  std::vector<at::Tensor> const statistics = step.joined();
  if (by_token && !statistics.empty()) {
    at::Tensor const& factors_NL = statistics.front();
    at::Tensor const sum = factors_NL.mean(0).sum().view({1});
    at::Tensor const good = sum.isfinite().all().logical_and(step.updated);
    depth_sum.copy_(at::where(good, sum, depth_sum));
    if (has_offset()) {
      at::Tensor const rate = (1 / (threshold.select(0, 1) + 1)).clamp_min(1 - threshold_decay);  // at first a plain average
      at::Tensor const value = threshold.narrow(0, 0, 1);
      value.add_(rate * (at::where(good, separating_factor(factors_NL), value) - value));
      threshold.select(0, 1).add_(good);
    }
  }
  if (step.progress < harden_after || is_hard() || !step.updated.item<bool>()) return "";
  harden();
  return "small factors are skips from here on";
}

at::Tensor ScaledModule::separating_factor(at::Tensor const& factors_NL) const {
  double const wanted = mean_depth * static_cast<double>(factors_NL.size(0));
  return balanced_threshold(factors_NL.reshape({-1}), std::clamp<int64_t>(std::llround(wanted), 1, factors_NL.numel() - 1));
}

void ScaledModule::end_calibration_round(DepthPasses const& passes, AcrossRanks const& ranks) {
  at::NoGradGuard const no_grad;
  std::vector<at::Tensor> factors_NL;
  for (auto const& pass : passes) factors_NL.push_back(static_cast<ScaledPass const&>(*pass).factors_NL());
  cut.copy_(separating_factor(ranks.joined(at::cat(factors_NL))) - threshold.narrow(0, 0, 1));
}

std::vector<at::Tensor> ScaledModule::offsets() const { return has_offset() ? std::vector<at::Tensor>{cut} : std::vector<at::Tensor>{}; }

std::optional<int64_t> ScaledModule::first_uncalibrated_layer() const {
  if (!has_offset() || !is_hard() || threshold[1].item<double>() > 0 || cut.item<double>() != 0) return {};
  return 0;
}

bool ScaledModule::harden() {
  if (is_hard()) return false;
  if (!by_token) drop_layers();
  hardened.fill_(1);
  return true;
}

void ScaledModule::drop_layers() {
  at::NoGradGuard const no_grad;
  std::vector<std::pair<double, size_t>> order;  // largest first, of equal ones the lower layer
  for (size_t i = 0; i < scales.size(); ++i) order.emplace_back(-scales[i]->factor_X.abs().mean().item<double>(), i);
  std::sort(order.begin(), order.end());
  for (size_t rank = 1; rank < order.size(); ++rank) {
    auto const [strength, layer] = order[rank];
    if (mean_depth > 0 ? static_cast<double>(rank) >= mean_depth : -strength < skip_below) scales[layer]->factor_X.zero_();
  }
}

}  // namespace isobath
