// Tasks in report.json and for a terminal.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/columns.h"
#include "core/units.h"
#include "format/total.h"
#include "trainer/report/report.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

Json bounds_json(Estimate const& estimate) { return std::isfinite(estimate.low) ? Json{estimate.low, estimate.high} : Json(nullptr); }

Json on_task_json(ArmOnTask const& arm) {
  Json json = {{"arm", arm.arm}, {"seeds", arm.seeds}, {"value", finite_or_null(arm.main.value)}, {"ci95", bounds_json(arm.main)}};
  for (Metric const& metric : all_metrics()) {
    bool const of_the_task = metric.key == "items" || metric.key == "chance" || metric.key == "majority";
    if (auto const found = arm.means.find(metric.key); metric.of_task() && !of_the_task && found != arm.means.end())
      json[metric.key] = found->second;
  }
  for (ArmOnGroup const& group : arm.groups)
    json["groups"].push_back(
        {{"group", group.group}, {"items", group.items}, {"acc", group.accuracy.value}, {"ci95", bounds_json(group.accuracy)}});
  return json;
}

Json task_pair_json(TaskPair const& pair) {
  bool const compared = pair.compared();
  return {{"arm", pair.arm},
          {"baseline", pair.baseline},
          {"metric", pair.metric},
          {"difference", compared ? finite_or_null(pair.paired.difference.value) : Json(nullptr)},
          {"ci95", compared ? bounds_json(pair.paired.difference) : Json(nullptr)},
          {"only_arm_right", compared ? Json(pair.paired.only_model) : Json(nullptr)},
          {"only_baseline_right", compared ? Json(pair.paired.only_baseline) : Json(nullptr)},
          {"mcnemar_p", pair.paired.mcnemar},
          {"n_seeds", pair.n_seeds},
          {"significant", pair.significant()},
          {"verdict", pair.verdict},
          {"note", pair.note}};
}

// Shares in per cent, bits per byte as they are.
std::string shown_value(std::string_view metric, double value) {
  if (!std::isfinite(value)) return "-";
  return metric == "bits_per_byte" ? fmt::format("{:.3f}", value) : fmt::format("{:.1f}", 100 * value);
}

// "31.0 (29.3 to 32.9)"
std::string shown_estimate(std::string_view metric, Estimate const& e) {
  std::string const value = shown_value(metric, e.value);
  return std::isfinite(e.low) ? fmt::format("{} ({} to {})", value, shown_value(metric, e.low), shown_value(metric, e.high)) : value;
}

std::string shown_difference(TaskPair const* pair) {
  if (!pair || !pair->compared()) return "-";
  Estimate const& d = pair->paired.difference;
  return fmt::format("{:+.1f} ({:+.1f} to {:+.1f})", 100 * d.value, 100 * d.low, 100 * d.high);
}

// Of the first baseline; all others stand in report.json and on the page.
std::string task_rows(Report const& report, ReportedTask const& task) {
  bool const accuracy = is_accuracy(task.main_metric);
  std::vector<std::vector<std::string>> rows{{"arm", "seeds", task.main_metric + (task.main_metric == "bits_per_byte" ? "" : " %"),
                                              (accuracy ? "vs " : "acc vs ") + report.best_dense, "depth", "tokens/s"}};
  for (ArmOnTask const& arm : task.arms) {
    auto const mean = [&](char const* metric) {
      auto const found = arm.means.find(metric);
      return found == arm.means.end() ? NAN : found->second;
    };
    double const depth = mean("blocks_per_token"), speed = mean("tokens_per_s");
    rows.push_back({arm.arm, std::to_string(arm.seeds.size()), shown_estimate(task.main_metric, arm.main),
                    shown_difference(task.pair(arm.arm, report.best_dense)), std::isfinite(depth) ? fmt::format("{:.2f}", depth) : "-",
                    std::isfinite(speed) ? format_si(speed) : "-"});
  }
  return aligned_columns(rows);
}

// Accuracies by group; empty where the task has none, or more than a terminal should show.
std::string group_rows(ReportedTask const& task) {
  constexpr size_t most_groups = 12;
  auto const has = [](ArmOnTask const& arm) { return !arm.groups.empty(); };
  auto const first = std::find_if(task.arms.begin(), task.arms.end(), has);
  if (first == task.arms.end() || first->groups.size() > most_groups) return "";
  std::vector<std::vector<std::string>> rows{{"group", "items"}};
  for (ArmOnGroup const& group : first->groups) rows.push_back({group.group, std::to_string(group.items)});
  for (ArmOnTask const& arm : task.arms) {
    rows.front().push_back(arm.arm);
    for (size_t i = 1; i < rows.size(); ++i) {
      auto const of = [&](ArmOnGroup const& group) { return group.group == rows[i].front(); };
      auto const found = std::find_if(arm.groups.begin(), arm.groups.end(), of);
      rows[i].push_back(found == arm.groups.end() ? "-" : shown_estimate("acc", found->accuracy));
    }
  }
  return aligned_columns(rows);
}

}  // namespace

Json tasks_json(Report const& report) {
  Json all = Json::array();
  for (ReportedTask const& task : report.tasks) {
    Json arms = Json::array(), pairs = Json::array();
    for (ArmOnTask const& arm : task.arms) arms.push_back(on_task_json(arm));
    for (TaskPair const& pair : task.pairs) pairs.push_back(task_pair_json(pair));
    all.push_back({{"task", task.task},
                   {"routing", task.routing},
                   {"looks_ahead", task.looks_ahead},
                   {"main_metric", task.main_metric},
                   {"items", task.items},
                   {"chance", finite_or_null(task.chance)},
                   {"majority", finite_or_null(task.majority)},
                   {"arms", std::move(arms)},
                   {"pairs", std::move(pairs)}});
  }
  return all;
}

Json task_curves_json(RunResult const& run) {
  Json all = Json::array();
  for (TaskCurve const& curve : run.task_curves) {
    Json points = Json::array();
    for (auto const& [flops, value] : curve.points) points.push_back({total_json(flops), value});
    all.push_back({{"task", curve.task},
                   {"routing", curve.routing},
                   {"looks_ahead", curve.looks_ahead},
                   {"main_metric", curve.main_metric},
                   {"points", std::move(points)}});
  }
  return all;
}

std::string task_tables(Report const& report) {
  std::string text;
  for (ReportedTask const& task : report.tasks) {
    text += fmt::format("{}{}, {}{}: {} items", text.empty() ? "" : "\n", task.task, task.routing == "topk" ? "top-k" : task.routing,
                        task.looks_ahead ? ", looks ahead" : "", task.items);
    if (std::isfinite(task.chance)) text += fmt::format(", chance {:.1f} %", 100 * task.chance);
    if (std::isfinite(task.majority)) text += fmt::format(", majority {:.1f} %", 100 * task.majority);
    text += "\n" + task_rows(report, task) + group_rows(task);
    for (TaskPair const& pair : task.pairs)
      if (!pair.compared()) text += fmt::format("  {} against {}: {}\n", pair.arm, pair.baseline, pair.verdict);
  }
  return text;
}

}  // namespace isobath
