#include "model/depth/nested/plan.h"

#include <algorithm>
#include <boost/math/tools/roots.hpp>
#include <cmath>

#include "config/sections/routers.h"
#include "model/ledger/ledger.h"
#include "model/ledger/router_cost.h"

namespace isobath {

namespace {

double mean(std::vector<int64_t> const& depths, std::vector<double> const& shares) {
  double sum = 0;
  for (size_t b = 0; b < depths.size(); ++b) sum += shares[b] * static_cast<double>(depths[b]);
  return sum;
}

std::vector<double> tilted_shares(std::vector<int64_t> const& depths, double tilt) {
  std::vector<double> shares;
  double sum = 0;
  auto const from = static_cast<double>(tilt > 0 ? depths.back() : depths.front());  // so that no exponent is above 0
  for (int64_t const depth : depths) sum += shares.emplace_back(std::exp(tilt * (static_cast<double>(depth) - from)));
  for (double& share : shares) share /= sum;
  return shares;
}

}  // namespace

std::string NestedPlan::describe() const {
  std::string text;
  for (int64_t const exit : depth_.exits) text += (text.empty() ? "exits after " : ", ") + std::to_string(exit);
  return text;
}

std::vector<int64_t> NestedPlan::routed_layers() const {
  std::vector<int64_t> layers;
  for (int64_t layer = depth_.exits.front(); layer < model_.layers; ++layer) layers.push_back(layer);
  return layers;
}

std::vector<int64_t> NestedPlan::branch_depths() const {
  std::vector<int64_t> depths = depth_.exits;
  depths.push_back(model_.layers);
  return depths;
}

std::vector<double> NestedPlan::branch_shares() const {
  std::vector<int64_t> const depths = branch_depths();
  if (depth_.mean_depth == 0) return tilted_shares(depths, 0);
  // The mean depth rises with the tilt.
  auto const excess = [&](double tilt) { return mean(depths, tilted_shares(depths, tilt)) - depth_.mean_depth; };
  auto const near = [](double low, double high) { return high - low <= 1e-12; };
  auto const [low, high] = boost::math::tools::bisect(excess, -50.0, 50.0, near);
  return tilted_shares(depths, (low + high) / 2);
}

double NestedPlan::mean_depth() const { return mean(branch_depths(), branch_shares()); }

int64_t NestedPlan::layer_of_weights(int64_t layer) const {
  if (!depth_.recursion || layer < depth_.exits[1]) return layer;
  return depth_.exits[0] + (layer - depth_.exits[0]) % (depth_.exits[1] - depth_.exits[0]);
}

int64_t NestedPlan::fewest_layers() const { return std::max(depth_.exits.back(), static_cast<int64_t>(std::floor(depth_.mean_depth))) + 1; }

std::string NestedPlan::fixed_layers_reason() const {
  return depth_.recursion ? "other layers would make the stacks that share weights unequal (depth.recursion)" : "";
}

std::vector<double> NestedPlan::capacities() const {
  std::vector<int64_t> const depths = branch_depths();
  std::vector<double> const shares = branch_shares();
  std::vector<double> capacities;
  for (int64_t const layer : routed_layers()) {
    double& capacity = capacities.emplace_back(0);
    for (size_t b = 0; b < depths.size(); ++b) capacity += depths[b] > layer ? shares[b] : 0;
  }
  return capacities;
}

// Hindsight training takes every token through all layers.
std::vector<double> NestedPlan::training_capacities() const {
  std::vector<double> shares = capacities();
  if (depth_.gate_training == GateTraining::hindsight) std::fill(shares.begin(), shares.end(), 1);
  return shares;
}

std::vector<double> NestedPlan::most_capacities() const { return step_capacities(0, 0, 0); }

std::vector<double> NestedPlan::step_capacities(uint64_t, int64_t, double progress) const {
  return warmed_up(training_capacities(), progress);
}

// Weights of the depth network, without biases.
int64_t NestedPlan::gate_weights() const {
  if (is_expert_choice() || router_kind(depth_.router).random) return 0;
  int64_t const D = model_.width, H = resolved_router_width(model_, depth_), n = exits() + 1;
  return router_kind(depth_.router).has_hidden_layer() ? D * H + H * n : D * n;
}

void NestedPlan::add_costs(Ledger& ledger, int64_t vocab_size) const {
  ledger.keeps_kv = depth_.skipped_kv == SkippedKv::keep;
  ledger.gate_row = 2 * gate_weights();
  ledger.gate_by_sequence = depth_.choice == BranchChoice::sequence;
  if (depth_.gate_training == GateTraining::hindsight) ledger.training_heads = exits() + 1;
  if (is_expert_choice()) add_router_costs(ledger, model_, depth_, vocab_size, exits());
}

void NestedPlan::add_parameters(Parameters& count, int64_t vocab_size) const {
  if (depth_.exit_norms) count.blocks += exits() * model_.width;
  if (is_expert_choice()) add_router_parameters(count, model_, depth_, vocab_size, exits());
  if (int64_t const weights = gate_weights()) count.routers += weights + exits() + 1;
}

}  // namespace isobath
