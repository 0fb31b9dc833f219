// Makes a Report of RunResults: arms from their runs.
#include "trainer/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "config/experiment_runs.h"
#include "trainer/report/judge.h"
#include "trainer/report/notes.h"
#include "trainer/report/run_progress.h"

namespace isobath {
namespace {

ArmResult make_arm(std::string const& name, std::vector<RunResult> runs) {
  ArmResult arm;
  arm.name = name;
  std::sort(runs.begin(), runs.end(), [](RunResult const& a, RunResult const& b) { return a.config.seed < b.config.seed; });
  arm.runs = std::move(runs);
  for (RunResult const& run : arm.runs) arm.train_flops += run.train_flops;
  arm.train_flops = arm.train_flops / std::ssize(arm.runs);
  for (RunResult const& run : arm.runs)
    if (arm.decoding.empty()) arm.decoding = run.decoding;
  return arm;
}

// What the runs measured of a metric, layers pooled with seeds.
std::vector<double> measured(ArmResult const& arm, std::string_view metric) {
  std::vector<double> all;
  for (RunResult const& run : arm.runs)
    for (double const value : run.metrics.list(metric))
      if (std::isfinite(value)) all.push_back(value);
  return all;
}

// "mod/seed-2: running at step 120 of 300"
std::string incomplete_text(RunResult const& run) {
  std::string const folder = run.folder.filename().string();
  std::string text = run.family() + (run.budget.empty() ? "" : "/" + run.budget) + (run.size.empty() ? "" : "/" + run.size) +
                     (folder.starts_with("seed-") ? "/" + folder : "") + ": " + run.state();
  if (!run.begun) return text;
  text += fmt::format(" at step {}", run.step);
  double const planned = run.metrics["steps_planned"];
  return std::isfinite(planned) ? text + fmt::format(" of {:.0f}", planned) : text;
}

void add_once(std::vector<std::string>& names, std::string const& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

bool is_sweep(CompareConfig const& compare) {
  return !compare.budgets.empty() ||
         std::any_of(compare.arms.begin(), compare.arms.end(), [](ArmConfig const& arm) { return !arm.sizes.empty(); });
}

// Moves the finished runs of an arm at a budget out of `runs`; tells of the others in the report.
std::vector<RunResult> take_finished(Report& report, std::string const& arm, std::string const& budget, std::vector<RunResult>& runs) {
  std::vector<RunResult> finished;
  for (RunResult& run : runs) {
    if (run.arm != arm || run.budget != budget) continue;
    if (run.finished()) {
      finished.push_back(std::move(run));
      continue;
    }
    report.incomplete.push_back(incomplete_text(run));
    report.running = report.running || run.running;
    if (run.begun && budget == report.budget) report.unfinished.push_back(std::move(run));
  }
  return finished;
}

// Reference arms are trained on more than the budget.
Scaling scaling_of(Report const& report) {
  std::vector<SweepRow> rows;
  for (SweepRow const& row : report.sweep)
    if (!report.is_reference(row.family)) rows.push_back(row);
  return fit_scaling(rows, report.experiment.compare.baseline_arm());
}

}  // namespace

std::string RunResult::label() const { return fmt::format("{} seed {}", arm, config.seed); }

std::string RunResult::family() const { return size.empty() ? arm : arm.substr(0, arm.size() - size.size() - 1); }

std::string RunResult::state() const { return run_state(running, begun, status); }

Spread ArmResult::spread(std::string_view metric) const {
  std::vector<double> const values = measured(*this, metric);
  return values.empty() ? Spread{std::numeric_limits<double>::quiet_NaN(), 0, 0} : isobath::spread(values);
}

double ArmResult::operator[](std::string_view metric) const {
  std::vector<double> const values = measured(*this, metric);
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  switch (metric_of_report(metric).over_seeds) {
    case OverSeeds::median:
      return median(values);
    case OverSeeds::most:
      return *std::max_element(values.begin(), values.end());
    default:
      return isobath::spread(values).mean;
  }
}

std::vector<double> ArmResult::by_layer(std::string_view metric) const {
  std::vector<std::vector<double>> layers;  // per layer, what the seeds measured
  for (RunResult const& run : runs) {
    MetricValues const& values = run.metrics.list(metric);
    layers.resize(std::max(layers.size(), values.size()));
    for (size_t i = 0; i < values.size(); ++i)
      if (std::isfinite(values[i])) layers[i].push_back(values[i]);
  }
  std::vector<double> means;
  for (std::vector<double> const& layer : layers)
    means.push_back(layer.empty() ? std::numeric_limits<double>::quiet_NaN() : isobath::spread(layer).mean);
  return means;
}

Decoding const* ArmResult::decoded(int64_t batch) const {
  for (Decoding const& one : decoding)
    if (one.batch == batch) return &one;
  return nullptr;
}

std::vector<int64_t> Report::decoded_batches() const {
  std::set<int64_t> batches;
  for (ArmResult const& arm : arms)
    for (Decoding const& one : arm.decoding) batches.insert(one.batch);
  return {batches.begin(), batches.end()};
}

std::vector<int64_t> Report::seeds() const {
  std::set<int64_t> all;
  for (ArmResult const& arm : arms)
    for (RunResult const& run : arm.runs) all.insert(run.config.seed);
  return {all.begin(), all.end()};
}

RunResult const* ArmResult::run(int64_t seed) const {
  for (RunResult const& candidate : runs)
    if (candidate.config.seed == seed) return &candidate;
  return nullptr;
}

ArmResult const* Report::arm(std::string const& wanted) const {
  for (ArmResult const& candidate : arms)
    if (candidate.name == wanted) return &candidate;
  return nullptr;
}

bool Report::is_reference(std::string const& wanted) const {
  auto const& arms = experiment.compare.arms;
  return std::any_of(arms.begin(), arms.end(), [&](ArmConfig const& arm) {
    return arm.reference && (arm.name == wanted || wanted.starts_with(arm.name + "/"));  // "/": in a size
  });
}

ArmResult const* Report::baseline_of(ArmResult const& of) const {
  return arm_in_size(experiment.compare.baseline_arm(), of.runs.front().size);
}

ArmResult const* Report::arm_in_size(std::string const& name, std::string const& size) const {
  ArmResult const* const sized = size.empty() ? nullptr : arm(name + "/" + size);
  return sized ? sized : arm(name);
}

Pair const* Report::pair(std::string const& arm, std::string const& baseline, std::string const& basis) const {
  for (Pair const& candidate : pairs)
    if (candidate.arm == arm && candidate.baseline == baseline && candidate.basis == basis) return &candidate;
  return nullptr;
}

Report make_report(Config const& experiment, std::vector<RunResult> runs) {
  Report report;
  report.name = experiment.name;
  report.experiment = experiment;
  CompareConfig const& compare = experiment.compare;
  std::vector<std::string> budgets;
  for (Duration const& budget : ascending_budgets(compare)) budgets.push_back(format_duration(budget));
  if (budgets.empty()) budgets.emplace_back();
  report.budget = budgets.back();
  for (RunId const& run : experiment_runs(compare)) add_once(report.order, run.family());
  for (RunResult const& run : runs) add_once(report.order, run.arm);

  for (std::string const& budget : budgets)
    for (std::string const& name : report.order) {
      std::vector<RunResult> finished = take_finished(report, name, budget, runs);
      if (finished.empty()) continue;
      ArmResult arm = make_arm(name, std::move(finished));
      if (is_sweep(compare)) report.sweep.push_back(sweep_row(arm));
      if (budget == report.budget) report.arms.push_back(std::move(arm));
    }
  report.scaling = scaling_of(report);
  if (report.arms.empty()) {
    report.headline =
        report.budget.empty() ? "no run has finished yet" : "no run of the largest budget, " + report.budget + ", has finished yet";
    return report;
  }
  judge(report);
  judge_tasks(report);
  add_notes(report);
  return report;
}

std::string describe_routing(Config const& config) { return plan_depth(config.model, config.depth)->describe(); }

std::string describe_model(Config const& config) {
  std::string const routing = describe_routing(config);
  return fmt::format("{} layers", config.model.layers) + (routing.empty() ? "" : ", " + routing);
}

}  // namespace isobath
