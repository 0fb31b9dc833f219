#include "trainer/report/notes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "config/sections/routers.h"
#include "trainer/report/settings.h"

namespace isobath {
namespace {

constexpr double few_steps = 500;

using Names = std::vector<std::string>;

// "dense", "dense and mod", "dense, shallow and mod"
std::string listed(Names const& names) {
  if (names.size() < 2) return names.empty() ? "" : names.front();
  return fmt::format("{} and {}", fmt::join(names.begin(), names.end() - 1, ", "), names.back());
}

// Arms that one note is about, and the range of the values that it names.
struct Noted {
  Names arms;
  double low = INFINITY, high = -INFINITY;
  void add(std::string const& arm, double value) {
    arms.push_back(arm);
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // "300", "300 to 420"
  std::string range(int digits) const {
    std::string const from = fmt::format("{:.{}f}", low, digits), to = fmt::format("{:.{}f}", high, digits);
    return from == to ? from : from + " to " + to;
  }
};

void note_builds(Report& report) {
  std::map<std::string, Names> runs;  // by the build that trained them
  for (ArmResult const& arm : report.arms)
    for (RunResult const& run : arm.runs) {
      std::string const label = fmt::format("{} seed {}", arm.name, run.config.seed);
      for (std::string const& build : run.builds) runs[build].push_back(label);
      if (run.builds.empty()) runs["not recorded"].push_back(label);
    }
  if (runs.size() < 2) return;
  Names parts;
  for (auto const& [build, labels] : runs) parts.push_back(fmt::format("{} ({})", build, fmt::join(labels, ", ")));
  report.warnings.push_back(fmt::format("runs come from different builds of the program: {}", fmt::join(parts, "; ")));
}

// Several arms share a note, for there may be dozens of them.
void note_arms(Report& report) {
  Noted short_runs, repeated, dearer;
  std::map<std::string, Names> calibrated;  // by what stands in for a causal decision
  for (ArmResult const& arm : report.arms) {
    if (arm["steps"] < few_steps) short_runs.add(arm.name, arm["steps"]);
    if (arm["epochs"] > 1.01) repeated.add(arm.name, arm["epochs"]);
    double const planned = arm["forward_flops_per_token_topk"], realised = arm["forward_flops_per_token_causal"];
    if (realised > 1.02 * planned) dearer.add(arm.name, 100 * (realised / planned - 1));
    bool const random = router_kind(arm.config().depth.router).random;
    if (arm.plan()->uses_noncausal_routing() && (arm.config().depth.causal == Causal::none || random))
      calibrated[random ? "coin" : "threshold"].push_back(arm.name);
  }
  auto const note = [&](Noted const& noted, std::string const& text) {
    if (!noted.arms.empty()) report.warnings.push_back(listed(noted.arms) + " " + text);
  };
  note(short_runs, fmt::format("ran {} {}; fewer than {:.0f} say little about longer training", short_runs.range(0),
                               short_runs.range(0) == "1" ? "step" : "steps", few_steps));
  note(repeated, fmt::format("saw {} text {} times", repeated.arms.size() == 1 ? "its" : "their", repeated.range(1)));
  note(dearer,
       fmt::format("{} {} % more FLOPs under causal routing than planned", dearer.arms.size() == 1 ? "spends" : "spend", dearer.range(1)));
  for (auto const& [stand_in, arms] : calibrated)
    report.warnings.push_back(fmt::format("{} {} no causal decision of {} own: a calibrated {} stands in for it", listed(arms),
                                          arms.size() == 1 ? "has" : "have", arms.size() == 1 ? "its" : "their", stand_in));
}

// Names the runs that were resumed under another schedule, unless all of them were.
void note_schedules(Report& report) {
  Names changed;
  size_t runs = 0;
  for (ArmResult const& arm : report.arms)
    for (RunResult const& run : arm.runs) {
      ++runs;
      if (run.schedules > 1) changed.push_back(fmt::format("{} seed {}", arm.name, run.config.seed));
    }
  if (changed.empty() || changed.size() == runs) return;
  report.warnings.push_back(fmt::format("{} went on under a new schedule (budget or learning rate), other runs did not", listed(changed)));
}

// What others have trained and runs have made use of.
void note_pretraining(Report& report) {
  std::map<std::string, Names> arms;  // by what is said of them
  for (ArmResult const& arm : report.arms) {
    TrainConfig const& train = arm.config().train;
    Names sources;
    if (!train.init_from.empty()) sources.push_back("started from the weights of " + train.init_from);
    if (!train.distill.from.empty()) sources.push_back("learned from the teacher " + train.distill.from);
    if (sources.empty()) continue;
    double const flops = arm["pretraining_flops"];
    std::string const cost =
        std::isfinite(flops) ? fmt::format("{:.4g} FLOPs, which are not in the totals", flops) : "an unknown number of FLOPs";
    arms[fmt::format("{}; their training took {}", fmt::join(sources, " and "), cost)].push_back(arm.name);
  }
  for (auto const& [text, names] : arms) report.warnings.push_back(listed(names) + " " + text);
}

void note_jobs(Report& report) {
  std::set<double> threads;
  for (ArmResult const& arm : report.arms)
    for (RunResult const& run : arm.runs)
      if (run.metrics.contains("threads")) threads.insert(run.metrics["threads"]);
  int64_t const jobs = report.experiment.compare.jobs;
  if (jobs < 2 || threads.empty()) return;
  report.warnings.push_back(fmt::format("times were measured with {} runs at a time, {:.0f} thread{} each", jobs, *threads.begin(),
                                        *threads.begin() == 1 ? "" : "s"));
}

}  // namespace

void add_notes(Report& report) {
  note_builds(report);
  note_arms(report);
  note_schedules(report);
  note_pretraining(report);
  for (std::string const& edge : sweep_edges(report)) report.warnings.push_back(edge);
  note_jobs(report);
}

}  // namespace isobath
