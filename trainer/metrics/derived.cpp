// Metrics that a report derives for each run, from its configuration and from what was measured.
#include <algorithm>
#include <limits>

#include "model/depth/plan.h"
#include "trainer/metrics/metric.h"
#include "trainer/report/statistics.h"

namespace isobath {
namespace {

constexpr double no_value = std::numeric_limits<double>::quiet_NaN();

template <typename Get>
Metric derived(std::string key, std::string unit, std::string meaning, Get get) {
  return {std::move(key), std::move(unit), std::move(meaning), derives(get)};
}

double excess_percent(double value, double reference) { return 100 * (value / reference - 1); }

double causal_gap(Config const& config, MetricMap const& run) {
  bool const two_routings = plan_depth(config.model, config.depth)->uses_noncausal_routing();
  return two_routings ? excess_percent(run["loss_causal"], run["loss_topk"]) : no_value;
}

// Top-k takes exactly K of every T tokens; no threshold can.
double independent_ceiling(Config const& config, MetricMap const&) {
  auto const plan = plan_depth(config.model, config.depth);
  if (!plan->has_capacity() || plan->capacities().empty()) return no_value;
  int64_t const T = config.model.context;
  return threshold_f1_ceiling(rows_of_capacity(plan->capacities().front(), T), T);
}

std::optional<MetricValues> shares_of_ceiling(Config const&, MetricMap const& run) {
  MetricValues const &f1 = run.list("router_f1"), &ceiling = run.list("router_f1_ceiling");
  MetricValues shares;
  for (size_t i = 0; i < std::min(f1.size(), ceiling.size()); ++i) shares.push_back(ceiling[i] > 0 ? f1[i] / ceiling[i] : no_value);
  return shares.empty() ? std::nullopt : std::optional(shares);
}

}  // namespace

std::vector<Metric> derived_metrics() {
  return {
      derived("causal_gap_percent", "%", "100 (loss_causal / loss_topk - 1): what the causal decision costs", causal_gap)
          .shown(Group::quality, "Causal over top-k loss", "causal over top-k", Format::signed_percent, 3),
      derived("head_room_percent", "%", "100 (loss_causal / oracle_loss_same_depth - 1): what a perfect choice of branches would gain",
              [](Config const&, MetricMap const& run) { return excess_percent(run["loss_causal"], run["oracle_loss_same_depth"]); })
          .shown(Group::depth, "Head-room", "head-room", Format::signed_percent, 2),
      Metric{"router_f1_of_ceiling", "", "F1 over its ceiling: how much of what a threshold can reach the causal decision reaches",
             shares_of_ceiling}
          .per(Each::routed_layer)
          .shown(Group::routing, "F1 / ceiling", "", Format::percent, 1),
      derived("router_f1_ceiling_independent", "",
              "F1 that the best fixed threshold would reach against top-k on independent scores, at this capacity and context",
              independent_ceiling),
  };
}

}  // namespace isobath
