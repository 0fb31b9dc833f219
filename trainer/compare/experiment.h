#pragma once
// The runs of an experiment (arms x seeds at equal compute): lists them, finds the finished ones, and runs the rest as child processes.
// Uses no LibTorch.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "config/io.h"
#include "core/files.h"
#include "core/process.h"
#include "data/prepare.h"
#include "trainer/compare/arms.h"

namespace isobath {

struct ExperimentRun : RunId {
  Config config;  // resolved: with what arm, size and tuning set, and its model matched to the arm that `match` names
  fs::path folder;
  std::string label() const { return path(); }
};

using VocabSize = std::function<int64_t(Config const&)>;

using Choices = std::map<std::string, std::vector<Assignment>>;  // by arm: what tuning has chosen for it

// The configuration of one run. Its `match` is applied against the resolved arm that it names, in the same size. Throws Error(config).
Config resolve_config(LoadedConfig const& base, RunId const& run, VocabSize const& vocab_size, Choices const& chosen = {});
// The same with folder and threads, ready to be run.
ExperimentRun resolve_run(LoadedConfig const& base, RunId const& run, VocabSize const& vocab_size, Choices const& chosen = {});
// Every run of the experiment, seed by seed: a comparison that stops early has finished whole seeds. Throws Error(config) when there is
// nothing to compare.
std::vector<ExperimentRun> resolve_runs(LoadedConfig const& base, VocabSize const& vocab_size, Choices const& chosen = {});
fs::path run_folder(Config const& config);         // run_dir/name, of a run or an experiment
bool same_text(Config const& a, Config const& b);  // same data and tokenizer settings

// Throws Error(config) that lists the differences when a folder holds a run whose settings make it a different run.
void check_run_folder(ExperimentRun const& run);
// Throws Error(config) when the folder's run has done more than `plan` allows, or has ended under another schedule that `plan` does not
// extend.
void check_schedule(ExperimentRun const& run, ArmPlan const& plan);
// Whether the folder holds this run, finished: its metrics end with a finished run, and its configuration is the wanted one (up to settings
// that change no result).
bool is_finished(ExperimentRun const& run);

// Whether the folder holds this run, ended by non-finite values.
bool has_diverged(ExperimentRun const& run);

// A marker file in the run's folder, from before its process starts until the process exits with code 0. While it exists, config.yaml is
// what was asked for, and metrics.jsonl may still belong to an earlier, shorter run.
fs::path unfinished_marker(ExperimentRun const& run);

// What a run that is given `device` has for its key `device`: the ranks of one that has several find their GPUs by themselves.
std::string placed_device(std::string const& device, int64_t ranks);

struct ExperimentSettings {
  fs::path executable = "/proc/self/exe";  // called as `executable train RUN/config.yaml`; kept open: the same for all runs
  std::vector<std::string> loader_words = isobath::loader_words();  // before `train`
  int64_t jobs = 1, ranks_per_run = 1;
  std::vector<std::string> devices;  // a run that starts takes the ranks_per_run with the fewest runs; empty: each run's own
  std::string afterwards;            // for progress: what follows the runs, such as "then decoding"
  double minutes = 0;                // after which running children are stopped (they save) and no more are started; 0: no limit
  std::function<ArmPlan const&(ExperimentRun const&)> plan;  // for progress; may be empty
  std::function<void()> refresh;                             // called about 10 times a second while runs are running; may be empty
};

// While runs are running: rounded down, and at most 99, for a run that has done its work still has to save it.
int percent_done(double left, double total);

struct FailedRun {
  std::string label;
  int exit_code = 0;       // 128 + signal when a signal ended it
  std::string last_lines;  // of its log
};

// Runs the unfinished runs, `jobs` at a time. A failed run does not stop the others. Asked to stop, it passes the signal to the
// children, waits until they have saved, and throws Stopped. When the time is up it sends SIGTERM, waits likewise,
// and throws Error(incomplete).
std::vector<FailedRun> run_experiment(std::vector<ExperimentRun> const& runs, ExperimentSettings const& settings);

}  // namespace isobath
