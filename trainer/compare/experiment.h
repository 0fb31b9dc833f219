#pragma once
// Arms x seeds at equal compute: what runs there are, which are done, and running the rest as child processes. No
// LibTorch.

#include <functional>
#include <string>
#include <vector>

#include "config/io.h"
#include "core/files.h"
#include "data/prepare.h"

namespace isobath {

struct ExperimentRun {
  std::string arm;
  int64_t seed = 0;
  Config config;  // resolved: the arm's settings, its seed, its match
  fs::path folder;
  std::string label() const { return arm + "/seed-" + std::to_string(seed); }
};

using VocabSize = std::function<int64_t(Config const&)>;

// One arm for one seed; `match` is applied against the (resolved) arm it names. Throws Error(config).
Config resolve_arm(LoadedConfig const& base, std::string const& arm, int64_t seed, VocabSize const& vocab_size);
// Every run, seeds outer, arms inner: whatever stops a comparison half-way, whole seeds are done. Throws Error(config)
// when there is nothing to compare.
std::vector<ExperimentRun> resolve_runs(LoadedConfig const& base, VocabSize const& vocab_size);
fs::path run_folder(Config const& config);         // run_dir/name, of a run or an experiment
bool same_text(Config const& a, Config const& b);  // same data and tokenizer settings

// Throws Error(config) naming the differences when a folder holds a run of another identity.
void check_run_folder(ExperimentRun const& run);
// Its metrics end with a finished run, and that run is the one wanted now (up to settings that change no result).
bool is_finished(ExperimentRun const& run);

// Stands in a run's folder from before its process starts until that has ended well: until then the configuration there
// is a wish, and metrics may still be those of an earlier, shorter run.
fs::path pending_file(ExperimentRun const& run);

struct ExperimentSettings {
  fs::path executable = "/proc/self/exe";  // called as `executable train RUN/config.yaml`; held open: the same for all runs
  int64_t jobs = 1;
  double minutes = 0;  // after which running children are stopped (they save) and no more are started; 0: no limit
  std::function<double(ExperimentRun const&)> work;  // planned training FLOPs of a run, for progress; may be empty
};

struct FailedRun {
  std::string label;
  int exit_code = 0;       // 128 + signal when a signal ended it
  std::string last_lines;  // of its log
};

// Runs what is not finished, `jobs` at a time. A run that fails does not stop the others. On SIGINT and SIGTERM: hands
// the signal on, waits until every child has saved, then throws Error(interrupted | terminated);
// when the time is up the same, but Error(incomplete).
std::vector<FailedRun> run_experiment(std::vector<ExperimentRun> const& runs, ExperimentSettings const& settings);

}  // namespace isobath
