#pragma once
// Loss against the cost of inference: what the best dense model of the same cost would reach. Uses no LibTorch.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "trainer/report/statistics.h"

namespace isobath {

struct ArmResult;
struct Report;

// Costs that differ by no more than this share are the same: as closely as `match` makes them equal.
inline constexpr double same_cost = 0.005;
// Dense arms that make a frontier.
inline constexpr size_t wanted_dense_arms = 3;

// What is missing where a frontier has fewer, in words; empty where it has enough.
std::string too_few_dense_arms(size_t dense);

// What a token costs at inference.
struct Cost {
  char const *name, *label, *unit;
  double (*of)(ArmResult const&);  // mean over seeds, or as measured of one; NaN: not measured
};
// forward_flops (under causal routing), decode_time_1 and decode_time_16 (texts at a time), prefill_time, kv_bytes.
std::vector<Cost> const& all_costs();
Cost const& cost_named(std::string const& name);  // one of them

struct FrontierPoint {
  std::string arm;
  double cost = 0;
  std::vector<double> losses;  // by seed
  bool dense = false;
  bool on_frontier = false;  // a dense arm than which no cheaper dense arm has a lower mean loss
};

// Arms by ascending cost, over seeds that all dense ones have.
struct Frontier {
  Cost const* cost = nullptr;
  std::vector<int64_t> seeds;
  std::vector<FrontierPoint> points;
  // The frontier's loss of one seed: between two dense arms linear in the logarithm of the cost, beyond the last arm that is on the
  // frontier as low as that. nullopt where no dense arm is as cheap, or none as costly: nothing is extrapolated.
  std::optional<double> loss_at(size_t seed, double at) const;
  // The two arms on the frontier that loss_at interpolates between: the costliest that costs at most `at`, and the next costlier one.
  // Null: there is none.
  std::pair<FrontierPoint const*, FrontierPoint const*> neighbours(double at) const;
  double cheapest() const;  // dense arm's cost; NaN without one
  double costliest() const;
  std::string around(double at) const;  // "between d2 and d3", "as d3"
};

// The frontier of these dense arms. The points' losses have one value for each of `seeds`.
Frontier make_frontier(Cost const& cost, std::vector<int64_t> seeds, std::vector<FrontierPoint> points);

// Fills report.frontiers, and adds a pair of basis "cost" for every routed arm and every cost, after the other pairs.
void judge_frontiers(Report& report);

nlohmann::ordered_json frontiers_json(Report const& report);

}  // namespace isobath
