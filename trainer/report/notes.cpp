#include "trainer/report/notes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
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

// Adds a warning where runs have different `values`; returns whether it did.
bool note_origins(Report& report, std::string const& what, std::function<Names(RunResult const&)> const& values) {
  std::map<std::string, Names> runs;  // by value
  for (ArmResult const& arm : report.arms)
    for (RunResult const& run : arm.runs) {
      Names const found = values(run);
      for (std::string const& value : found) runs[value].push_back(run.label());
      if (found.empty()) runs["not recorded"].push_back(run.label());
    }
  if (runs.size() < 2) return false;
  Names parts;
  for (auto const& [value, labels] : runs) parts.push_back(fmt::format("{} ({})", value, fmt::join(labels, ", ")));
  report.warnings.push_back(fmt::format("runs come from different {}: {}", what, fmt::join(parts, "; ")));
  return true;
}

void note_builds(Report& report) {
  auto const recorded = [](char const* key) {
    return [key](RunResult const& run) {
      auto const found = run.environment.find(key);
      return found == run.environment.end() ? Names() : Names{found->second};
    };
  };
  // A build names its LibTorch; older runs have no build.
  if (!note_origins(report, "builds of the program", [](RunResult const& run) { return run.builds; }))
    note_origins(report, "versions of LibTorch", recorded("libtorch"));
  note_origins(report, "processors", recorded("cpu"));
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
      if (run.schedules > 1) changed.push_back(run.label());
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
  int64_t const jobs = report.experiment.compare.runs_at_a_time();
  if (jobs < 2 || threads.empty()) return;
  report.warnings.push_back(fmt::format("times were measured with {} runs at a time, {:.0f} thread{} each", jobs, *threads.begin(),
                                        *threads.begin() == 1 ? "" : "s"));
}

void note_tasks(Report& report) {
  int64_t compared = 0, single = 0;
  Names guessing;                        // tasks that no arm answers better than guessing
  std::map<std::string, Names> unequal;  // pairs, by why they did not train equally
  for (ReportedTask const& task : report.tasks) {
    double const least = std::fmax(task.chance, task.majority);
    auto const guesses = [&](ArmOnTask const& arm) { return std::isfinite(arm.main.low) && arm.main.low <= least; };
    if (is_accuracy(task.main_metric) && std::isfinite(least) && std::all_of(task.arms.begin(), task.arms.end(), guesses))
      guessing.push_back(task.looks_ahead ? task.task + " (top-k)" : task.task);
    for (TaskPair const& pair : task.pairs) {
      compared += pair.compared();
      single += pair.n_seeds == 1;
      if (pair.note.empty()) continue;
      Names& names = unequal[pair.note];
      std::string const name = fmt::format("{} against {}", pair.arm, pair.baseline);
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  if (compared > 0)
    report.warnings.push_back(fmt::format(
        "{} paired comparison{} on tasks: where nothing differs, about one interval in twenty excludes zero by chance{}", compared,
        compared == 1 ? "" : "s", single > 0 ? "; those of one seed are over items alone and say nothing about other seeds" : ""));
  if (!guessing.empty())
    report.warnings.push_back("no arm is surely better than guessing and than the commonest answer on " + listed(guessing));
  for (auto const& [reason, names] : unequal)
    report.warnings.push_back(fmt::format("on tasks, {} is not at equal training FLOPs: {}", listed(names), reason));
}

void note_budgets(Report& report) {
  size_t const budgets = report.experiment.compare.budgets.size();
  if (budgets > 1)
    report.warnings.push_back(fmt::format("verdicts and tables are about the largest of {} budgets, {} a run", budgets, report.budget));
}

}  // namespace

void add_notes(Report& report) {
  note_budgets(report);
  note_builds(report);
  note_arms(report);
  note_schedules(report);
  note_pretraining(report);
  note_tasks(report);
  for (std::string const& edge : sweep_edges(report)) report.warnings.push_back(edge);
  note_jobs(report);
}

}  // namespace isobath
