#include "model/depth/scaled/scaled.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "model/depth/mod/routed_block.h"
#include "nn/ops/ops.h"
#include "nn/router/router.h"

namespace isobath {

LayerScaleImpl::LayerScaleImpl(ModelConfig const& model, DepthConfig const& depth) {
  if (depth.scale == "token") {
    weight_D = register_parameter("weight", at::empty({model.width}));
    bias = register_parameter("bias", at::empty({1}));
  } else {
    factor_X = register_parameter("factor", at::empty({depth.scale == "channel" ? model.width : 1}));
  }
}

at::Tensor LayerScaleImpl::factor(at::Tensor const& x_ND) const {
  if (factor_X.defined()) return factor_X;
  return (ops::row_dot(ops::unit_rms(x_ND), weight_D) + bias).sigmoid().unsqueeze(1);
}

DepthScaleImpl::DepthScaleImpl(ModelConfig const& model, DepthConfig const& depth)
    : by_token(depth.scale == "token"),
      layers(model.layers),
      mean_depth(depth.mean_depth),
      skip_below(depth.skip_below),
      weight(depth.scale_weight),
      threshold_decay(depth.threshold_decay) {
  threshold = register_buffer("threshold", at::zeros({2}));
  cut = register_buffer("cut", at::zeros({1}));
  hardened = register_buffer("hardened", at::zeros({1}));
}

bool DepthScaleImpl::has_decision() const { return !has_cut() || threshold[1].item<double>() > 0 || cut.item<double>() != 0; }

at::Tensor DepthScaleImpl::separating_factor(std::vector<RoutedLayer> const& of_layers) const {
  std::vector<at::Tensor> factors_N;
  for (RoutedLayer const& layer : of_layers) factors_N.push_back(layer.score_BT.reshape({-1}));
  at::Tensor const all_M = at::cat(factors_N);
  int64_t const tokens = all_M.numel() / layers;
  return separating_cut(all_M, std::clamp<int64_t>(std::llround(mean_depth * static_cast<double>(tokens)), 1, all_M.numel() - 1));
}

void DepthScaleImpl::follow(std::vector<RoutedLayer> const& of_layers) {
  if (!has_cut()) return;
  at::NoGradGuard const no_grad;
  at::Tensor const rate = (1 / (threshold.select(0, 1) + 1)).clamp_min(1 - threshold_decay);  // at first a plain average
  at::Tensor const value = threshold.narrow(0, 0, 1);
  value.add_(rate * (separating_factor(of_layers) - value));
  threshold.select(0, 1).add_(1);
}

void DepthScaleImpl::calibrate(std::vector<RoutedLayer> const& of_layers) {
  at::NoGradGuard const no_grad;
  cut.copy_(separating_factor(of_layers) - threshold.narrow(0, 0, 1));
}

void DepthScaleImpl::drop(std::vector<at::Tensor> const& factors) const {
  at::NoGradGuard const no_grad;
  std::vector<std::pair<double, size_t>> order;  // largest first, of equal ones the lower layer
  for (size_t i = 0; i < factors.size(); ++i) order.emplace_back(-factors[i].abs().mean().item<double>(), i);
  std::sort(order.begin(), order.end());
  for (size_t rank = 1; rank < order.size(); ++rank) {
    auto const [strength, layer] = order[rank];
    if (mean_depth > 0 ? static_cast<double>(rank) >= mean_depth : -strength < skip_below) at::Tensor(factors[layer]).zero_();
  }
}

ScaledRun::ScaledRun(DepthScaleImpl& scale, DepthConfig const& depth, std::vector<at::Tensor> const& replay_BT)
    : scale_(scale), keeps_kv_(depth.skipped_kv == "keep"), hardened_(scale.hardened.item<double>() != 0), replays_(replay_BT) {}

at::Tensor ScaledRun::layer(BlockImpl& block, LayerScaleImpl const& scale, at::Tensor const& x_ND, Rows const& rows,
                            RotaryTables const& rotary) {
  int64_t const B = rows.sequences, T = rows.longest;
  at::Tensor const factor = scale.factor(x_ND);
  at::Tensor const score_BT = scale_.by_token ? factor.detach().view({B, T}) : factor.detach().abs().mean().view({1, 1}).expand({B, T});
  at::Tensor decided_BT, margin_BT;
  if (!hardened_) {
    at::Tensor const mean = factor.abs().mean();
    sum_ = sum_.defined() ? sum_ + mean : mean;
    decided_BT = at::full({B, T}, true, x_ND.options().dtype(at::kBool));
  } else if (scale_.by_token) {
    at::Tensor const trained = scale_.threshold.narrow(0, 0, 1), least = scale_.is_training() ? trained : trained + scale_.cut;
    decided_BT = score_BT.gt(least);
    if (!at::GradMode::is_enabled() && !rows.cache) margin_BT = (score_BT - least).abs();
  } else {
    decided_BT = score_BT.ne(0);  // hardening leaves a layer that it drops with a factor of 0
  }
  bool const by_token = hardened_ && scale_.by_token;
  at::Tensor const ran_BT = by_token && !replays_.empty() ? replays_[layers.size()] : decided_BT;
  layers.push_back({ran_BT, decided_BT, decided_BT, score_BT, margin_BT});

  if (by_token) {
    at::Tensor index_R;
    Rows const selected = select_ragged(rows, ran_BT, index_R);
    if (selected.count == 0) return keep_keys(block, keeps_kv_, x_ND, rows, rotary);
    at::Tensor const factor_R = factor.squeeze(1).index_select(0, index_R);
    at::Tensor const delta_RD = partial_delta(block, Target::block, keeps_kv_, x_ND, rows, index_R, selected, rotary, factor_R);
    return ops::scatter_add_rows(x_ND, index_R, delta_RD, factor_R);
  }
  if (hardened_ && !score_BT.select(0, 0).select(0, 0).is_nonzero()) return x_ND;
  at::Tensor const scaling = factor.to(x_ND.scalar_type());
  at::Tensor const h_ND = x_ND + scaling * block.attention->forward(x_ND, rows, rotary);
  return h_ND + scaling * block.mlp->forward(h_ND);
}

at::Tensor ScaledRun::cost() const {
  if (hardened_ || scale_.weight == 0) return {};
  return (sum_ - scale_.mean_depth).clamp_min(0) * (scale_.weight / static_cast<double>(scale_.layers));
}

}  // namespace isobath
