#include "trainer/report/frontier.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/units.h"
#include "trainer/report/comparable.h"
#include "trainer/report/pairs.h"
#include "trainer/report/report.h"

namespace isobath {
namespace {

double decode_time(ArmResult const& arm, int64_t batch) {
  Decoding const* const decoded = arm.decoded(batch);
  return decoded && decoded->tokens_per_s > 0 ? 1 / decoded->tokens_per_s : std::nan("");
}

double prefill_time(ArmResult const& arm) {
  Decoding const* const decoded = arm.decoded(1);
  return decoded && decoded->prompt_tokens_per_s > 0 ? 1 / decoded->prompt_tokens_per_s : std::nan("");
}

double kv_bytes(ArmResult const& arm) {
  Decoding const* const decoded = arm.decoded(1);
  return decoded ? decoded->kv_bytes_per_token : std::nan("");
}

double mean(std::vector<double> const& values) { return spread(values).mean; }

// Arms that may stand in a frontier: those that have all `seeds` and a cost.
std::vector<FrontierPoint> points_of(Report const& report, Cost const& cost, Seeds const& seeds, std::string const& metric) {
  std::vector<FrontierPoint> points;
  for (ArmResult const& arm : report.arms) {
    double const at = cost.of(arm);
    if (!std::isfinite(at) || at <= 0 || report.is_reference(arm.name) || common_seeds(arm, seeds).size() < seeds.size()) continue;
    points.push_back({arm.name, at, values_of(runs_of(arm, seeds), metric), arm.dense(), false});
  }
  return points;
}

struct ComparedRuns {
  Runs own;     // of the routed arm
  Runs all;     // its own and those of all dense arms
  Runs around;  // its own and those of the dense arms that its cost lies between
};

ComparedRuns compared_runs(Report const& report, ArmResult const& arm, Frontier const& frontier, double at) {
  Runs const own = runs_of(arm, frontier.seeds);
  ComparedRuns runs{own, own, own};
  auto const [below, above] = frontier.neighbours(at);
  for (FrontierPoint const& point : frontier.points) {
    if (!point.dense) continue;
    for (RunResult const* run : runs_of(*report.arm(point.arm), frontier.seeds)) {
      runs.all.push_back(run);
      if (&point == below || &point == above) runs.around.push_back(run);
    }
  }
  return runs;
}

// "428k forward FLOPs a token", "163 us a token"
std::string shown_cost(Cost const& cost, double at) {
  std::string const unit = cost.unit;
  if (!unit.starts_with("s ")) return format_si(at) + " " + unit;
  return at < 1e-3 ? fmt::format("{:.3g} u{}", 1e6 * at, unit) : fmt::format("{:.3g} m{}", 1e3 * at, unit);
}

// Why the arm at this cost is not held against the frontier; empty where it is.
std::string no_bracket(Frontier const& frontier, double at) {
  if (std::isnan(frontier.cheapest())) return "no dense arm has finished these seeds";
  if (at < frontier.cheapest() * (1 - same_cost)) return "no dense arm is that cheap; add one";
  if (at > frontier.costliest() * (1 + same_cost)) return "no dense arm is that costly; add one";
  return "";
}

// Dense arms that lack some of the seeds, in words.
std::string left_out(Report const& report, Cost const& cost, Seeds const& seeds) {
  std::string names;
  for (ArmResult const& arm : report.arms)
    if (arm.dense() && !report.is_reference(arm.name) && std::isfinite(cost.of(arm)) && common_seeds(arm, seeds).size() < seeds.size())
      names += (names.empty() ? "" : ", ") + arm.name;
  return names.empty() ? "" : "; without " + names + ", for lack of some of these seeds";
}

Pair cost_pair(Report const& report, ArmResult const& arm, Cost const& cost) {
  Seeds const seeds = seeds_of(arm);
  double const at = cost.of(arm);
  Frontier frontier = make_frontier(cost, seeds, points_of(report, cost, seeds, report.ranked_by));
  ComparedRuns const runs = compared_runs(report, arm, frontier, at);
  Comparable const by = comparable_by(runs.all);
  std::string reason = by.metric.empty() ? by.reason : unequal_flops(runs.around);
  if (reason.empty()) reason = no_bracket(frontier, at);
  std::vector<double> theirs;
  for (size_t seed = 0; reason.empty() && seed < seeds.size(); ++seed) theirs.push_back(*frontier.loss_at(seed, at));
  std::vector<double> const ours = reason.empty() ? values_of(runs.own, report.ranked_by) : std::vector<double>();
  Pair pair = make_pair({arm.name, "dense frontier", "cost", by}, reason, ours, theirs);
  pair.cost = cost.name;
  pair.note =
      fmt::format("at {}{}", shown_cost(cost, at), reason.empty() ? ", " + frontier.around(at) : "") + left_out(report, cost, seeds);
  return pair;
}

}  // namespace

std::string too_few_dense_arms(size_t dense) {
  if (dense >= wanted_dense_arms) return "";
  return fmt::format("the dense frontier stands on {} arm{}: three or more of different depth or width would make it one", dense,
                     dense == 1 ? "" : "s");
}

std::vector<Cost> const& all_costs() {
  static std::vector<Cost> const costs{
      {"forward_flops", "forward FLOPs a token, causal routing", "forward FLOPs a token",
       [](ArmResult const& arm) { return arm["forward_flops_per_token_causal"]; }},
      {"decode_time_1", "seconds a token, one text at a time", "s a token", [](ArmResult const& arm) { return decode_time(arm, 1); }},
      {"decode_time_16", "seconds a token, 16 texts at a time", "s a token", [](ArmResult const& arm) { return decode_time(arm, 16); }},
      {"prefill_time", "seconds a token of a prompt", "s a token", prefill_time},
      {"kv_bytes", "bytes of keys and values a token, decoded", "bytes a token", kv_bytes},
  };
  return costs;
}

Cost const& cost_named(std::string const& name) {
  return *std::find_if(all_costs().begin(), all_costs().end(), [&](Cost const& cost) { return cost.name == name; });
}

Frontier make_frontier(Cost const& cost, Seeds seeds, std::vector<FrontierPoint> points) {
  Frontier frontier{&cost, std::move(seeds), std::move(points)};
  std::sort(frontier.points.begin(), frontier.points.end(),
            [](auto const& a, auto const& b) { return std::pair(a.cost, mean(a.losses)) < std::pair(b.cost, mean(b.losses)); });
  double lowest = std::numeric_limits<double>::infinity();
  for (FrontierPoint& point : frontier.points) {
    point.on_frontier = point.dense && mean(point.losses) < lowest;
    if (point.on_frontier) lowest = mean(point.losses);
  }
  return frontier;
}

double Frontier::cheapest() const {
  auto const found = std::find_if(points.begin(), points.end(), [](FrontierPoint const& point) { return point.dense; });
  return found == points.end() ? std::nan("") : found->cost;
}

double Frontier::costliest() const {
  auto const found = std::find_if(points.rbegin(), points.rend(), [](FrontierPoint const& point) { return point.dense; });
  return found == points.rend() ? std::nan("") : found->cost;
}

std::pair<FrontierPoint const*, FrontierPoint const*> Frontier::neighbours(double at) const {
  FrontierPoint const *below = nullptr, *above = nullptr;
  for (FrontierPoint const& point : points) {
    if (!point.on_frontier) continue;
    if (point.cost <= at * (1 + same_cost))
      below = &point;
    else if (!above)
      above = &point;
  }
  return {below, above};
}

std::optional<double> Frontier::loss_at(size_t seed, double at) const {
  if (!(at >= cheapest() * (1 - same_cost) && at <= costliest() * (1 + same_cost))) return std::nullopt;
  auto const [below, above] = neighbours(at);
  if (!below || !above) return (below ? below : above)->losses[seed];  // not below: as cheap as the first, but for rounding
  double const share = std::max(0.0, std::log(at / below->cost) / std::log(above->cost / below->cost));
  return below->losses[seed] + share * (above->losses[seed] - below->losses[seed]);
}

std::string Frontier::around(double at) const {
  auto const [below, above] = neighbours(at);
  if (!below || !above) return fmt::format("where {} is the best dense arm", (below ? below : above)->arm);
  return fmt::format("between {} and {}", below->arm, above->arm);
}

nlohmann::ordered_json frontiers_json(Report const& report) {
  auto all = nlohmann::ordered_json::array();
  for (Frontier const& frontier : report.frontiers) {
    auto points = nlohmann::ordered_json::array();
    for (FrontierPoint const& point : frontier.points) {
      Spread const s = spread(point.losses);
      double const half =
          s.n < 2 ? std::nan("") : student_t_quantile(0.975, static_cast<double>(s.n - 1)) * s.std / std::sqrt(static_cast<double>(s.n));
      points.push_back({{"arm", point.arm},
                        {"cost", point.cost},
                        {"loss", s.mean},
                        {"half_width", finite_or_null(half)},
                        {"losses", point.losses},
                        {"dense", point.dense},
                        {"on_frontier", point.on_frontier}});
    }
    all.push_back({{"cost", frontier.cost->name},
                   {"label", frontier.cost->label},
                   {"unit", frontier.cost->unit},
                   {"metric", report.ranked_by},
                   {"seeds", frontier.seeds},
                   {"points", std::move(points)}});
  }
  return all;
}

void judge_frontiers(Report& report) {
  auto const is_routed = [&](ArmResult const& arm) { return !arm.dense() && !report.is_reference(arm.name); };
  bool const any_dense = std::any_of(report.arms.begin(), report.arms.end(), [](ArmResult const& arm) { return arm.dense(); });
  if (report.ranked_by.empty() || !any_dense || std::none_of(report.arms.begin(), report.arms.end(), is_routed)) return;
  Seeds seeds = report.seeds();  // that every arm has, for the chart
  for (ArmResult const& arm : report.arms)
    if (!report.is_reference(arm.name)) seeds = common_seeds(arm, seeds);
  for (Cost const& cost : all_costs()) {
    if (std::none_of(report.arms.begin(), report.arms.end(),
                     [&](auto const& arm) { return is_routed(arm) && std::isfinite(cost.of(arm)); }))
      continue;
    for (ArmResult const& arm : report.arms)
      if (is_routed(arm) && std::isfinite(cost.of(arm))) report.pairs.push_back(cost_pair(report, arm, cost));
    if (!seeds.empty()) report.frontiers.push_back(make_frontier(cost, seeds, points_of(report, cost, seeds, report.ranked_by)));
  }
  if (report.frontiers.empty()) return;
  auto const& points = report.frontiers.front().points;
  auto const dense = std::count_if(points.begin(), points.end(), [](FrontierPoint const& point) { return point.dense; });
  if (std::string const missing = too_few_dense_arms(static_cast<size_t>(dense)); !missing.empty()) report.warnings.push_back(missing);
}

}  // namespace isobath
