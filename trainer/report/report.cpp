// RunResults -> Report: who is compared with whom, and what can be said.
#include "trainer/report/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "config/io.h"
#include "config/sections/routers.h"
#include "core/error.h"
#include "model/ledger/ledger.h"

namespace isobath {
namespace {

constexpr double equal_flops = 0.001;

template <typename Get>
Spread spread_of(std::vector<RunResult> const& runs, Get get) {
  std::vector<double> values;
  for (RunResult const& run : runs) values.push_back(get(run));
  return spread(values);
}

template <typename Get>
double median_of(std::vector<RunResult> const& runs, Get get) {
  std::vector<double> values;
  for (RunResult const& run : runs)
    if (double const value = get(run); std::isfinite(value)) values.push_back(value);  // not measured: left out
  return median(values);
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

ArmResult make_arm(std::string const& name, std::vector<RunResult> runs) {
  ArmResult arm;
  arm.name = name;
  std::sort(runs.begin(), runs.end(), [](RunResult const& a, RunResult const& b) { return a.config.seed < b.config.seed; });
  arm.runs = std::move(runs);
  arm.loss_topk = spread_of(arm.runs, [](RunResult const& r) { return r.result.loss_topk; });
  arm.loss_causal = spread_of(arm.runs, [](RunResult const& r) { return r.result.loss_causal; });
  arm.bits_per_byte_topk = spread_of(arm.runs, [](RunResult const& r) { return r.result.bits_per_byte_topk; });
  arm.bits_per_byte_causal = spread_of(arm.runs, [](RunResult const& r) { return r.result.bits_per_byte_causal; });
  arm.forward_flops_causal = spread_of(arm.runs, [](RunResult const& r) { return r.result.forward_flops_causal; }).mean;
  arm.step_time_s = median_of(arm.runs, [](RunResult const& r) { return r.step_time_s; });
  arm.tokens_per_s = median_of(arm.runs, [](RunResult const& r) { return r.tokens_per_s; });
  arm.time_s = spread_of(arm.runs, [](RunResult const& r) { return r.time_s; }).mean;
  for (RunResult const& run : arm.runs) arm.peak_memory_bytes = std::max(arm.peak_memory_bytes, run.memory_bytes);
  for (RunResult const& run : arm.runs)
    if (arm.decoding.empty()) arm.decoding = run.decoding;
  arm.kv_bytes_per_token = kv_bytes_per_token(arm.config().model, arm.config().depth);
  return arm;
}

ArmResult const* lowest(std::vector<ArmResult> const& arms, bool dense, std::string const& except = {}) {
  ArmResult const* best = nullptr;
  for (ArmResult const& arm : arms)
    if (arm.dense() == dense && arm.name != except && (!best || arm.loss_causal.mean < best->loss_causal.mean)) best = &arm;
  return best;
}

std::string hint(Report const& report, PairedDifference const& difference) {
  if (difference.shown() || difference.n == 0) return "";
  constexpr double hour_budget = 1.2e13;  // of configs/hour.yaml, a run
  bool const small = static_cast<double>(report.arms.front().runs.front().train_flops) < 0.9 * hour_budget;
  return small ? "; for an answer run configs/hour.yaml" : "; more seeds would narrow it (compare.seeds)";
}

Pair make_pair(Report const& report, ArmResult const& arm, ArmResult const& baseline, char const* basis, std::vector<double> const& ours,
               std::vector<double> const& theirs) {
  Pair pair;
  pair.arm = arm.name;
  pair.baseline = baseline.name;
  pair.basis = basis;
  pair.difference = paired_percent(ours, theirs);
  pair.arm_loss = spread(ours).mean;
  pair.baseline_loss = spread(theirs).mean;
  pair.hint = hint(report, pair.difference);
  pair.verdict = verdict(pair.difference) + pair.hint;
  return pair;
}

Pair equal_flops_pair(Report const& report, ArmResult const& arm, ArmResult const& baseline) {
  std::vector<double> ours, theirs;
  for (RunResult const& run : arm.runs)
    if (RunResult const* other = baseline.run(run.config.seed)) {
      ours.push_back(run.result.loss_causal);
      theirs.push_back(other->result.loss_causal);
    }
  Pair pair = make_pair(report, arm, baseline, "flops", ours, theirs);
  return pair;
}

Pair equal_time_pair(Report const& report, ArmResult const& arm, ArmResult const& baseline) {
  std::vector<double> ours, theirs;
  double arm_time = 0, baseline_time = 0;
  for (RunResult const& run : arm.runs)
    if (RunResult const* other = baseline.run(run.config.seed)) {
      double const time = std::min(run.time_s, other->time_s);
      auto const loss = loss_at_time(run.curve, time), other_loss = loss_at_time(other->curve, time);
      if (!loss || !other_loss) continue;
      ours.push_back(*loss);
      theirs.push_back(*other_loss);
      arm_time += run.time_s;
      baseline_time += other->time_s;
    }
  Pair pair = make_pair(report, arm, baseline, "time", ours, theirs);
  if (pair.difference.n == 0) {
    pair.note = "the shorter run ends before the other's first validation: nothing to interpolate";
    return pair;
  }
  auto const n = static_cast<double>(pair.difference.n);
  arm_time /= n;
  baseline_time /= n;
  std::string const& longer = arm_time > baseline_time ? arm.name : baseline.name;
  std::string const& shorter = arm_time > baseline_time ? baseline.name : arm.name;
  double const less = std::min(arm_time, baseline_time), more = std::max(arm_time, baseline_time);
  pair.note = fmt::format("an interpolation: {} took {} of training, {} took {} and is read off its curve at {}", shorter,
                          format_seconds(less), longer, format_seconds(more), format_seconds(less));
  if (less < 0.98 * more)
    pair.note += fmt::format(", where its learning rate has not decayed yet; a run of {} planned for that time would do better", longer);
  return pair;
}

void check_equal_flops(Report& report) {
  auto const [low, high] = std::minmax_element(report.arms.begin(), report.arms.end(), [](ArmResult const& a, ArmResult const& b) {
    return a.runs.front().train_flops < b.runs.front().train_flops;
  });
  auto const least = static_cast<double>(low->runs.front().train_flops), most = static_cast<double>(high->runs.front().train_flops);
  if (most <= least * (1 + equal_flops)) return;
  bool const in_flops = low->config().train.budget.unit == Unit::flop && high->config().train.budget.unit == Unit::flop;
  report.warnings.push_back(fmt::format(
      "training FLOPs differ by {:.2f} % ({} spent {:.4g}, {} spent {:.4g}): {}", 100 * (most / least - 1), low->name, least, high->name,
      most, in_flops ? "so few steps cannot hit the budget nearer" : "not a comparison at equal compute; give train.budget in flop"));
}

void check_runs(Report& report) {
  std::set<int64_t> threads;
  for (ArmResult const& arm : report.arms) {
    RunResult const& run = arm.runs.front();
    if (run.step < 500)
      report.warnings.push_back(fmt::format("{} ran {} steps; fewer than 500 say little about longer training", arm.name, run.step));
    if (run.epochs > 1.01) report.warnings.push_back(fmt::format("{} saw its text {:.1f} times", arm.name, run.epochs));
    if (arm.forward_flops_causal > 1.02 * run.forward_flops_topk)
      report.warnings.push_back(fmt::format("{} spends {:.1f} % more FLOPs under causal routing than planned", arm.name,
                                            100 * (arm.forward_flops_causal / run.forward_flops_topk - 1)));
    bool const random = router_kind(arm.config().depth.router).random;
    if (arm.plan()->uses_noncausal_routing() && (arm.config().depth.causal == Causal::none || random))
      report.warnings.push_back(arm.name + " has no causal decision of its own: a calibrated " +
                                (random ? "coin" : "threshold") + " stands in for it");
    for (RunResult const& r : arm.runs) threads.insert(r.threads);
  }
  if (threads.size() > 1) report.warnings.push_back("runs used different numbers of threads: their times do not compare");
  if (int64_t const jobs = report.experiment.compare.jobs; jobs > 1)
    report.warnings.push_back(fmt::format("times were measured with {} runs at a time, {} thread{} each", jobs, *threads.begin(),
                                          *threads.begin() == 1 ? "" : "s"));
}

void judge(Report& report) {
  ArmResult const* best = lowest(report.arms, true);
  ArmResult const* challenger = lowest(report.arms, false);
  std::string role = ", the best dense arm";
  if (!best || !challenger) {  // only one kind: everything is held against the baseline
    best = report.arm(report.experiment.compare.baseline);
    if (!best) best = &report.arms.front();
    challenger = lowest(report.arms, best->dense(), best->name);
    role = ", the baseline";
  }
  report.best_dense = best->name;
  if (!challenger) {
    report.headline = "only " + best->name + " finished: nothing to compare";
    return;
  }
  report.challenger = challenger->name;

  std::vector<ArmResult const*> order{challenger};
  for (ArmResult const& arm : report.arms)
    if (&arm != challenger && &arm != best) order.push_back(&arm);
  for (ArmResult const* arm : order) {
    report.pairs.push_back(equal_flops_pair(report, *arm, *best));
    report.pairs.push_back(equal_time_pair(report, *arm, *best));
  }
  ArmResult const* baseline = report.arm(report.experiment.compare.baseline);
  if (baseline && baseline != best)
    for (ArmResult const& arm : report.arms)
      if (&arm != baseline && &arm != best) report.pairs.push_back(equal_flops_pair(report, arm, *baseline));

  auto const routed = std::count_if(report.arms.begin(), report.arms.end(), [](ArmResult const& arm) { return !arm.dense(); });
  if (routed > 1 && !challenger->dense())
    report.warnings.push_back(
        fmt::format("{} is the best of {} routed arms, chosen after the fact: its lead is flattered a little", challenger->name, routed));
  report.headline =
      fmt::format("{} against {}{}: {} (causal loss {:.4f} against {:.4f}, equal training FLOPs)", challenger->name, best->name, role,
                  report.pairs.front().verdict, report.pairs.front().arm_loss, report.pairs.front().baseline_loss);
}

}  // namespace

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

Pair const* Report::pair(std::string const& arm, std::string const& baseline, std::string const& basis) const {
  for (Pair const& candidate : pairs)
    if (candidate.arm == arm && candidate.baseline == baseline && candidate.basis == basis) return &candidate;
  return nullptr;
}

std::optional<double> loss_at_time(std::vector<ValidationPoint> const& curve, double time_s) {
  for (size_t i = 0; i < curve.size(); ++i) {
    ValidationPoint const& here = curve[i];
    if (here.time_s < time_s * (1 - 1e-9)) continue;
    if (here.time_s <= time_s * (1 + 1e-9)) return here.loss_causal;
    if (i == 0 || curve[i - 1].time_s <= 0) return std::nullopt;
    ValidationPoint const& before = curve[i - 1];
    double const share = std::log(time_s / before.time_s) / std::log(here.time_s / before.time_s);
    return before.loss_causal + share * (here.loss_causal - before.loss_causal);
  }
  // The last validation is the end of the run, whatever rounding says.
  if (!curve.empty() && time_s <= curve.back().time_s * 1.01) return curve.back().loss_causal;
  return std::nullopt;
}

Report make_report(Config const& experiment, std::vector<RunResult> runs) {
  Report report;
  report.name = experiment.name;
  report.experiment = experiment;
  std::vector<std::string> order;
  for (ArmConfig const& arm : experiment.compare.arms) order.push_back(arm.name);
  for (RunResult const& run : runs)
    if (std::find(order.begin(), order.end(), run.arm) == order.end()) order.push_back(run.arm);

  for (std::string const& name : order) {
    std::vector<RunResult> finished;
    for (RunResult& run : runs) {
      if (run.arm != name) continue;
      if (run.finished())
        finished.push_back(std::move(run));
      else
        report.incomplete.push_back(run.folder.filename().string() + " of " + name + ": " +
                                    (run.status.empty() ? "not finished" : run.status));
    }
    if (!finished.empty()) report.arms.push_back(make_arm(name, std::move(finished)));
  }
  if (report.arms.empty()) {
    report.headline = "no run has finished";
    return report;
  }
  judge(report);
  check_equal_flops(report);
  check_runs(report);
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
          missing.status = "not started";
          runs.push_back(std::move(missing));
        }
      }
    Report report = make_report(experiment, std::move(runs));
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

std::string describe_routing(Config const& config) {
  return plan_depth(config.model, config.depth)->describe();
}

std::string describe_model(Config const& config) {
  std::string const routing = describe_routing(config);
  return fmt::format("{} layers", config.model.layers) + (routing.empty() ? "" : ", " + routing);
}

}  // namespace isobath
