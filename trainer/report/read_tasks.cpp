// Reads what the final model of a run answered to tasks.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "format/total.h"
#include "trainer/report/record_number.h"
#include "trainer/report/report.h"

namespace isobath {
namespace {

void add_point(nlohmann::json const& record, TaskRecord const& task, RunResult& run) {
  auto const flops = record.find("train_flops_total");
  std::optional<Int128> const at = flops == record.end() ? std::nullopt : read_total(*flops);
  double const value = number(record, task.main_metric.c_str());
  if (!at || !std::isfinite(value)) return;
  auto const same = [&](TaskCurve const& curve) { return curve.task == task.task && curve.routing == task.routing; };
  auto found = std::find_if(run.task_curves.begin(), run.task_curves.end(), same);
  if (found == run.task_curves.end())
    found = run.task_curves.insert(found, {task.task, task.routing, task.main_metric, task.looks_ahead, {}});
  if (found->points.empty() || found->points.back().first < *at) found->points.emplace_back(*at, value);
}

}  // namespace

double TaskRecord::operator[](std::string_view metric) const {
  auto const found = values.find(metric);
  return found == values.end() ? std::nan("") : found->second;
}

void take_task(nlohmann::json const& record, RunResult& run) {
  auto const text = [&](char const* key) {
    auto const found = record.find(key);
    return found != record.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  auto const is = [&](char const* key) { return record.contains(key) && record[key].is_boolean() && record[key].get<bool>(); };
  TaskRecord task{text("task"), text("routing"), text("main_metric"), is("looks_ahead"), {}};
  if (task.task.empty() || task.routing.empty() || task.main_metric.empty()) return;
  if (!is("final")) return add_point(record, task, run);
  for (Metric const& metric : all_metrics())
    if (metric.of_task() && metric.each == Each::run)
      if (double const value = number(record, metric.key.c_str()); std::isfinite(value)) task.values[metric.key] = value;
  std::erase_if(run.tasks, [&](TaskRecord const& other) { return other.task == task.task && other.routing == task.routing; });
  run.tasks.push_back(std::move(task));
}

void take_answers(RunResult& run) {
  if (run.tasks.empty()) return;
  try {
    run.answers = read_task_answers(run.folder);
  } catch (Error const& error) {
    run.answers_error = error.what();
  }
}

TaskRecord const* RunResult::task(std::string_view name, std::string_view routing) const {
  auto const of = [&](std::string_view by) {
    auto const found = std::find_if(tasks.begin(), tasks.end(), [&](TaskRecord const& t) { return t.task == name && t.routing == by; });
    return found == tasks.end() ? nullptr : &*found;
  };
  TaskRecord const* const exact = of(routing);
  if (exact || plan_depth(config.model, config.depth)->uses_noncausal_routing()) return exact;
  return of("causal");
}

}  // namespace isobath
