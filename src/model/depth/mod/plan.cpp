#include "model/depth/mod/plan.h"

#include <algorithm>
#include <cmath>

#include "core/random.h"
#include "model/ledger/ledger.h"
#include "model/ledger/router_cost.h"

namespace isobath {

namespace {

// Weights of one routed layer's skip path.
int64_t skip_weights(ModelConfig const& model, DepthConfig const& depth) {
  int64_t const D = model.width;
  switch (depth.skip_path.value()) {
    case SkipPath::identity:
      return 0;
    case SkipPath::linear:
      return D * D;
    case SkipPath::low_rank:
      break;
  }
  return 2 * D * resolved_skip_rank(model, depth);
}

}  // namespace

std::string ModPlan::describe() const { return std::to_string(routed_layers().size()) + " routed at " + capacity_text(depth_.capacity); }

std::string ModPlan::explain_shares() const { return "Planned capacity " + capacity_text(depth_.capacity) + "; "; }

std::vector<int64_t> ModPlan::routed_layers() const { return routed_blocks(model_, depth_); }

std::vector<double> ModPlan::capacities() const {
  std::vector<double> const& entries = depth_.capacity;
  std::vector<double> capacities(routed_layers().size());
  for (size_t i = 0; i < capacities.size(); ++i) {
    double const last = static_cast<double>(entries.size() - 1);
    double const place = capacities.size() > 1 ? last * static_cast<double>(i) / static_cast<double>(capacities.size() - 1) : 0;
    auto const below = static_cast<size_t>(std::min(std::floor(place), std::max(0.0, last - 1)));
    double const above = entries[std::min(below + 1, entries.size() - 1)];
    capacities[i] = std::lerp(entries[below], above, place - static_cast<double>(below));
  }
  return capacities;
}

std::vector<double> ModPlan::most_capacities() const {
  std::vector<double> most = capacities();
  for (double& capacity : most) {
    if (depth_.capacity_warmup > 0) capacity = 1;
    if (!depth_.capacity_random.empty()) capacity = std::max(capacity, depth_.capacity_random[1]);
  }
  return most;
}

std::vector<double> ModPlan::step_capacities(uint64_t seed, int64_t step, double progress) const {
  std::vector<double> shares = capacities();
  if (!depth_.capacity_random.empty()) {
    double const drawn = random_uniform(make_key({seed, hash_text("capacity")}), static_cast<uint64_t>(step));
    std::fill(shares.begin(), shares.end(), std::lerp(depth_.capacity_random[0], depth_.capacity_random[1], drawn));
  }
  return warmed_up(std::move(shares), progress);
}

void ModPlan::add_costs(Ledger& ledger, int64_t vocab_size) const {
  ledger.skip_row = 2 * skip_weights(model_, depth_);
  ledger.routes_attention = depth_.target != RoutedPart::mlp;
  ledger.routes_mlp = depth_.target != RoutedPart::attention;
  ledger.keeps_kv = ledger.routes_attention && depth_.skipped_kv == SkippedKv::keep;
  add_router_costs(ledger, model_, depth_, vocab_size, ledger.routed_layers);
}

void ModPlan::add_parameters(Parameters& count, int64_t vocab_size) const {
  auto const routed = static_cast<int64_t>(routed_layers().size());
  count.blocks += routed * skip_weights(model_, depth_);
  add_router_parameters(count, model_, depth_, vocab_size, routed);
}

}  // namespace isobath
