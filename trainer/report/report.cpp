// Makes a Report of RunResults: arms from their runs.
#include "trainer/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "config/io.h"
#include "core/error.h"
#include "trainer/report/judge.h"
#include "trainer/report/notes.h"
#include "trainer/report/run_progress.h"

namespace isobath {
namespace {

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

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
  std::string text = (folder.starts_with("seed-") ? run.arm + "/" + folder : run.arm) + ": " + run.state();
  if (!run.begun) return text;
  text += fmt::format(" at step {}", run.step);
  double const planned = run.metrics["steps_planned"];
  return std::isfinite(planned) ? text + fmt::format(" of {:.0f}", planned) : text;
}

}  // namespace

std::string RunResult::label() const { return fmt::format("{} seed {}", arm, config.seed); }

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
  return std::any_of(arms.begin(), arms.end(), [&](ArmConfig const& arm) { return arm.name == wanted && arm.reference; });
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
  for (ArmConfig const& arm : experiment.compare.arms) report.order.push_back(arm.name);
  for (RunResult const& run : runs)
    if (std::find(report.order.begin(), report.order.end(), run.arm) == report.order.end()) report.order.push_back(run.arm);

  for (std::string const& name : report.order) {
    std::vector<RunResult> finished;
    for (RunResult& run : runs) {
      if (run.arm != name) continue;
      if (run.finished()) {
        finished.push_back(std::move(run));
        continue;
      }
      report.incomplete.push_back(incomplete_text(run));
      report.running = report.running || run.running;
      if (run.begun) report.unfinished.push_back(std::move(run));
    }
    if (!finished.empty()) report.arms.push_back(make_arm(name, std::move(finished)));
  }
  if (report.arms.empty()) {
    report.headline = "no run has finished yet";
    return report;
  }
  judge(report);
  judge_tasks(report);
  add_notes(report);
  return report;
}

Report read_report(std::vector<fs::path> const& folders) {
  std::vector<RunResult> runs;
  if (folders.size() == 1 && fs::exists(folders.front() / "experiment.yaml")) {
    fs::path const& root = folders.front();
    Config const experiment = load_config(root / "experiment.yaml", {}).config;
    for (ArmConfig const& arm : experiment.compare.arms)
      for (int64_t seed : experiment.compare.seeds) {
        fs::path const folder = root / arm.name / fmt::format("seed-{}", seed);
        if (fs::exists(folder / "metrics.jsonl")) {
          runs.push_back(read_run(folder, arm.name));
        } else {
          RunResult missing;
          missing.arm = arm.name;
          missing.folder = folder;
          runs.push_back(std::move(missing));
        }
      }
    Report report = make_report(experiment, std::move(runs));
    report.registered = read_registered(root, experiment);
    report.running = report.running || is_locked(root / ".lock");
    if (fs::exists(root / "command.txt")) report.command = last_line(read_file(root / "command.txt"));
    return report;
  }
  for (fs::path const& given : folders) {
    fs::path const folder = given.has_filename() ? given : given.parent_path();
    bool const seeded = folder.filename().string().starts_with("seed-");
    runs.push_back(read_run(folder, (seeded ? folder.parent_path() : folder).filename().string()));
  }
  Config experiment;
  experiment.name = runs.size() == 1 ? runs.front().arm : "runs";
  return make_report(experiment, std::move(runs));
}

std::string describe_routing(Config const& config) { return plan_depth(config.model, config.depth)->describe(); }

std::string describe_model(Config const& config) {
  std::string const routing = describe_routing(config);
  return fmt::format("{} layers", config.model.layers) + (routing.empty() ? "" : ", " + routing);
}

}  // namespace isobath
