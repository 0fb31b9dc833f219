#pragma once
// What a report says of tasks: question answering and inference. Uses no LibTorch.

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/int128.h"
#include "trainer/metrics/readings.h"
#include "trainer/tasks/paired.h"

namespace isobath {

struct Report;
struct RunResult;

using TaskValues = std::map<std::string, double, std::less<>>;  // metrics of the table's rows of tasks, by key

// A final `task` record of metrics.jsonl: one task under one routing.
struct TaskRecord {
  std::string task, routing, main_metric;
  bool looks_ahead = false;
  TaskValues values;
  double operator[](std::string_view metric) const;  // NaN where it is not there
};

// The main metric of one task under one routing at the validations of a run, on eval.task_items.
struct TaskCurve {
  std::string task, routing, main_metric;
  bool looks_ahead = false;
  std::vector<std::pair<Int128, double>> points;  // training FLOPs, value
};

// Whether `metric` is a share of right answers. Of other main metrics (F1, bits per byte) task_answers.json says nothing.
bool is_accuracy(std::string_view metric);

// Right answers among the items of one group: a distance, a phenomenon, whatever the task file calls `group`.
struct ArmOnGroup {
  std::string group;
  int64_t items = 0;
  Estimate accuracy;  // mean over seeds; its interval as in ArmOnTask
};

struct ArmOnTask {
  std::string arm;
  std::vector<int64_t> seeds;
  // Mean over seeds of the main metric; its interval: bootstrap over items and seeds, no narrower than Wilson's over the items; none (NaN)
  // without answers.
  Estimate main;
  TaskValues means;                // of every metric, over the seeds that have it
  std::vector<ArmOnGroup> groups;  // by name, numbers by their size; empty where the task has none, or where the answers were not kept
};

// `arm` against `baseline` on the same items, seed by seed.
struct TaskPair {
  std::string arm, baseline;
  std::string metric;  // the accuracy that is compared
  PairedTask paired;
  int64_t n_seeds = 0;  // 0: not compared
  std::string verdict;  // without a comparison the reason
  std::string note;     // why it is not one at equal training FLOPs
  bool compared() const { return n_seeds > 0; }
  bool significant() const { return compared() && (paired.difference.low > 0 || paired.difference.high < 0); }
};

struct ReportedTask {
  std::string task, routing, main_metric;
  bool looks_ahead = false;
  int64_t items = 0;
  double chance = 0, majority = 0;  // NaN: the task has none
  std::vector<ArmOnTask> arms;
  std::vector<TaskPair> pairs;  // with the best dense arm, then with the baseline
  ArmOnTask const* arm(std::string_view name) const;
  TaskPair const* pair(std::string_view arm, std::string_view baseline) const;
};

// Takes a `task` record: a final one as the run's result (of several to a task and routing the last counts), others as points of its
// curve. One that lacks its names is left out.
void take_task(nlohmann::json const& record, RunResult& run);
// Reads the answers to the tasks that the records are of.
void take_answers(RunResult& run);
// Fills report.tasks, after judge().
void judge_tasks(Report& report);

nlohmann::ordered_json tasks_json(Report const& report);
nlohmann::ordered_json task_curves_json(RunResult const& run);
std::string task_tables(Report const& report);  // for a terminal; empty without tasks

}  // namespace isobath
