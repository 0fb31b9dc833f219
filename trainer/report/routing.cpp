#include "trainer/report/routing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/ledger/ledger.h"

namespace isobath {
namespace {

constexpr double not_measured = std::numeric_limits<double>::quiet_NaN();

double mean_of_measured(std::vector<double> values) {
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  return values.empty() ? not_measured : spread(values).mean;
}

}  // namespace

std::vector<double> layer_means(ArmResult const& arm, LayerValues const& values) {
  std::vector<std::vector<double>> layers;  // per layer, the values of the seeds
  for (RunResult const& run : arm.runs) {
    std::vector<double> const seed = values(run.result);
    layers.resize(std::max(layers.size(), seed.size()));
    for (size_t i = 0; i < seed.size(); ++i) layers[i].push_back(seed[i]);
  }
  std::vector<double> means;
  for (std::vector<double> const& layer : layers) means.push_back(mean_of_measured(layer));
  return means;
}

double routing_mean(ArmResult const& arm, LayerValues const& values) {
  std::vector<double> all;
  for (RunResult const& run : arm.runs)
    for (double value : values(run.result)) all.push_back(value);
  return mean_of_measured(all);
}

std::vector<double> f1_of_ceiling(ValidationPoint const& point) {
  std::vector<double> shares;
  for (size_t i = 0; i < std::min(point.f1.size(), point.f1_ceiling.size()); ++i)
    shares.push_back(point.f1_ceiling[i] > 0 ? point.f1[i] / point.f1_ceiling[i] : not_measured);
  return shares;
}

double mean_depth(ArmResult const& arm) {
  if (arm.dense()) return static_cast<double>(arm.config().model.layers);
  std::vector<double> depths;
  for (RunResult const& run : arm.runs) depths.push_back(run.result.mean_depth);
  return mean_of_measured(depths);
}

double oracle_loss(ArmResult const& arm) {
  std::vector<double> losses;
  for (RunResult const& run : arm.runs) losses.push_back(run.result.oracle_loss);
  return mean_of_measured(losses);
}

double causal_gap_percent(ArmResult const& arm) {
  return !arm.plan()->uses_noncausal_routing() ? not_measured : 100 * (arm.loss_causal.mean - arm.loss_topk.mean) / arm.loss_topk.mean;
}

}  // namespace isobath
