// Makes a report of folders: of an experiment, or of single runs.
#include <algorithm>
#include <set>

#include "config/io.h"
#include "core/error.h"
#include "trainer/report/report.h"
#include "trainer/report/run_progress.h"

namespace isobath {
namespace {

// Keys of compare in which the folders of one experiment may differ.
std::set<std::string> const where_it_runs{"compare.seeds", "compare.jobs", "compare.ranks_per_run", "compare.devices"};

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

bool is_experiment(fs::path const& folder) { return fs::exists(folder / "experiment.yaml"); }

// The experiment that the folders of several machines hold. Throws Error(data) where they differ in more than their seeds, which are
// united, and in where runs ran.
Config merged_experiment(std::vector<fs::path> const& roots) {
  Config experiment = load_config(roots.front() / "experiment.yaml", {}).config;
  for (fs::path const& root : roots) {
    Config const other = load_config(root / "experiment.yaml", {}).config;
    std::string changes;
    for (ConfigDifference const& difference : diff_configs(experiment, other)) {
      bool const is_part_of_it = difference.path.starts_with("compare.") && !where_it_runs.contains(difference.path);
      if (difference.resume != ResumeClass::free || is_part_of_it)
        changes += "\n  " + difference.path + ": " + difference.before + " in the first, " + difference.after + " in the second";
    }
    if (!changes.empty())
      throw Error(ExitCode::data, roots.front().string() + " and " + root.string() + " hold different experiments:" + changes);
    for (int64_t const seed : other.compare.seeds) {
      auto& seeds = experiment.compare.seeds;
      if (std::find(seeds.begin(), seeds.end(), seed) == seeds.end()) seeds.push_back(seed);
    }
  }
  return experiment;
}

// One run of the experiment from the folder that holds it, a finished one where there are several.
RunResult read_or_missing(std::vector<fs::path> const& roots, RunId const& id) {
  RunResult run;
  run.folder = roots.front() / id.path();
  for (fs::path const& root : roots) {
    fs::path const folder = root / id.path();
    if (!fs::exists(folder / "metrics.jsonl")) continue;
    RunResult found = read_run(folder, id.family());
    bool const both_finished = run.finished() && found.finished();
    if (both_finished && read_file(run.folder / "metrics.jsonl") != read_file(folder / "metrics.jsonl"))
      throw Error(ExitCode::data, "two folders hold the run " + id.path() + ", with different records:\n  " + run.folder.string() + "\n  " +
                                      folder.string() + "\nRemove one of them, or leave its experiment out");
    if (!run.begun || (found.finished() && !run.finished())) run = std::move(found);
  }
  run.arm = id.family();
  run.size = id.size;
  run.budget = id.budget ? format_duration(*id.budget) : "";
  return run;
}

std::optional<Tuning> read_one_tuning(std::vector<fs::path> const& roots) {
  std::optional<fs::path> first;
  for (fs::path const& root : roots) {
    fs::path const file = root / "tune.json";
    if (!fs::exists(file)) continue;
    if (first && read_file(*first) != read_file(file))
      throw Error(ExitCode::data, first->string() + " and " + file.string() + " have chosen differently");
    first = file;
  }
  if (!first) return {};
  return read_tuning(*first);
}

Report read_experiment(std::vector<fs::path> const& roots) {
  Config const experiment = merged_experiment(roots);
  std::vector<RunResult> runs;
  Int128 train_flops;
  for (RunId const& id : experiment_runs(experiment.compare)) {
    runs.push_back(read_or_missing(roots, id));
    train_flops += runs.back().train_flops;
  }
  Report report = make_report(experiment, std::move(runs));
  report.tuning = read_one_tuning(roots);
  if (report.tuning) {
    auto const spent = static_cast<double>(report.tuning->train_flops());
    report.tuning_share = spent / (spent + static_cast<double>(train_flops));
    for (std::string const& warning : report.tuning->warnings()) report.warnings.push_back(warning);
  }
  for (fs::path const& root : roots) {
    std::optional<Registered> registered = read_registered(root, experiment);
    bool const earlier = registered && (!report.registered || registered->time < report.registered->time);
    if (earlier) report.registered = std::move(registered);
    report.running = report.running || is_locked(root / ".lock");
    if (report.command.empty() && fs::exists(root / "command.txt")) report.command = last_line(read_file(root / "command.txt"));
  }
  return report;
}

// The name of a single run: what tells it from others of its experiment, without the seed.
std::string arm_of(fs::path const& run) {
  if (!run.filename().string().starts_with("seed-")) return run.filename().string();
  for (fs::path at = run.parent_path(); at.has_relative_path(); at = at.parent_path())
    if (fs::exists(at / "experiment.yaml")) return run.parent_path().lexically_relative(at).generic_string();
  return run.parent_path().filename().string();
}

}  // namespace

Report read_report(std::vector<fs::path> const& folders) {
  auto const experiments = std::count_if(folders.begin(), folders.end(), is_experiment);
  if (experiments == std::ssize(folders)) return read_experiment(folders);
  if (experiments > 0)
    throw Error(ExitCode::data,
                "a report is of experiments or of single runs: " + std::find_if(folders.begin(), folders.end(), is_experiment)->string() +
                    " is an experiment, others of these folders are not");
  std::vector<RunResult> runs;
  for (fs::path const& given : folders) {
    fs::path const folder = without_last_slash(given);
    runs.push_back(read_run(folder, arm_of(folder)));
  }
  Config experiment;
  experiment.name = runs.size() == 1 ? runs.front().arm : "runs";
  return make_report(experiment, std::move(runs));
}

}  // namespace isobath
