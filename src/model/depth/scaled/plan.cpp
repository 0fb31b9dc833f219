#include "model/depth/scaled/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/ledger/ledger.h"

namespace isobath {

std::string ScaledPlan::describe() const {
  if (depth_.mean_depth > 0) return fmt::format("{:g} of {} by learned factors", depth_.mean_depth, model_.layers);
  return fmt::format("factors below {:g} skipped", depth_.skip_below);
}

std::string ScaledPlan::explain_shares() const {
  return by_token() ? "A layer runs the tokens with a large enough factor; "
                    : "Layers with the largest factors run, another choice in each seed; ";
}

std::vector<int64_t> ScaledPlan::routed_layers() const {
  std::vector<int64_t> layers;
  for (int64_t layer = 0; layer < model_.layers; ++layer) layers.push_back(layer);
  return layers;
}

// mean_depth must be less than the number of layers.
int64_t ScaledPlan::fewest_layers() const { return static_cast<int64_t>(std::floor(depth_.mean_depth)) + 1; }

std::vector<double> ScaledPlan::capacities() const {
  auto const layers = static_cast<size_t>(model_.layers);
  if (depth_.mean_depth == 0) return std::vector<double>(layers, 1);
  if (by_token()) return std::vector<double>(layers, depth_.mean_depth / static_cast<double>(model_.layers));
  std::vector<double> capacities(layers, 0);
  std::fill_n(capacities.begin(), std::min(layers, static_cast<size_t>(depth_.mean_depth)), 1);
  return capacities;
}

std::vector<double> ScaledPlan::most_capacities() const { return std::vector<double>(static_cast<size_t>(model_.layers), 1); }

std::vector<double> ScaledPlan::step_capacities(uint64_t, int64_t, double progress) const {
  return progress < depth_.harden_after ? most_capacities() : capacities();
}

void ScaledPlan::add_costs(Ledger& ledger, int64_t) const {
  ledger.keeps_kv = depth_.skipped_kv == SkippedKv::keep;
  if (!by_token()) return;
  ledger.router_row = 2 * model_.width;
  ledger.routers = model_.layers;
}

void ScaledPlan::add_parameters(Parameters& count, int64_t) const {
  int64_t const D = model_.width;
  count.routers += model_.layers * (by_token() ? D + 1 : depth_.scale == ScaleBy::channel ? D : 1);
}

}  // namespace isobath
