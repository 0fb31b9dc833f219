#pragma once
// The report of a comparison: read from run folders, judged, and written as JSON, text and HTML. Uses no LibTorch.

#include <cmath>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "core/files.h"
#include "core/int128.h"
#include "model/depth/plan.h"
#include "trainer/metrics/metric.h"
#include "trainer/report/equivalence.h"
#include "trainer/report/frontier.h"
#include "trainer/report/registered.h"
#include "trainer/report/scaling.h"
#include "trainer/report/statistics.h"
#include "trainer/report/sweep.h"
#include "trainer/report/tasks.h"
#include "trainer/report/tuning.h"
#include "trainer/tasks/answers_file.h"

namespace isobath {

// One validation record of metrics.jsonl.
struct ValidationPoint {
  int64_t step = 0, tokens = 0;
  Int128 train_flops;
  double time_s = 0;
  MetricMap metrics;
  std::vector<ScoreHistogram> scores;  // per routed layer
};

// The means of a few consecutive `train` records.
struct TrainingPoint {
  int64_t step = 0;  // of the last one
  double train_flops = 0;
  MetricValues values;  // of training_curves(); NaN: no finite value
};

// One validation text and the number of blocks each of its tokens went through.
struct DepthText {
  std::vector<std::string> pieces;
  std::vector<int64_t> depth;
  std::vector<double> loss;  // nats to predict the piece; NaN where it was not predicted
  int64_t layers = 0;
  bool empty() const { return pieces.empty(); }
};

struct RunResult {
  std::string arm;           // its name in the report: "mod", and of an arm with sizes "mod/small"
  std::string size, budget;  // of a sweep; empty without
  fs::path folder;
  Config config;
  std::string tokenizer, valid_text, device;  // of the `run` record: hashes of their contents; empty in older runs
  MetricMap metrics;                          // of the `run` and `end` records and of the result; derived ones; NaN: not measured
  std::vector<ValidationPoint> curve;         // on eval.tokens of validation text
  std::vector<TrainingPoint> training;        // at most 150
  std::vector<ScoreHistogram> scores;         // per routed layer
  std::string status;                         // of the `end` record; empty while there is none
  bool begun = false;                         // its folder exists
  bool running = false;                       // a process trains it
  int64_t step = 0;                           // of the last record
  int64_t schedules = 0;                      // that it has had: a larger budget or another learning rate begins a new one
  std::string sample;                         // text that the model wrote at its last validation; empty when none did
  Int128 train_flops;
  double time_s = 0;
  std::string command;
  std::map<std::string, std::string> environment;
  std::vector<std::string> builds;  // builds of the program that trained it: several when another build resumed it; empty in older runs
  DepthText depth_text;
  std::string depth_analysis;  // JSON, as `isobath analyze --json` prints it; empty: not measured
  std::vector<Decoding> decoding;
  std::vector<TaskRecord> tasks;  // of the final model
  std::vector<TaskCurve> task_curves;
  AnswersByTask answers;      // to the items of these tasks
  std::string answers_error;  // why task_answers.json cannot be read
  // The result of a task. A model whose two routings are the same has it as causal alone. Null: not measured.
  TaskRecord const* task(std::string_view name, std::string_view routing) const;
  std::string label() const;   // "mod seed 2"
  std::string family() const;  // `arm` without its size
  std::string state() const;   // run_state (run_progress.h)
  bool finished() const { return status == "finished" && !curve.empty(); }
};

struct ArmResult {
  std::string name;
  std::vector<RunResult> runs;     // finished ones, by ascending seed
  Int128 train_flops;              // realised, mean over the runs
  std::vector<Decoding> decoding;  // of the first run that has it
  // One metric over layers and seeds, as its row says (OverSeeds). Runs that did not measure it are left out; NaN when none did.
  double operator[](std::string_view metric) const;
  Spread spread(std::string_view metric) const;
  // Means over seeds, one per routed layer; NaN where no seed measured it.
  std::vector<double> by_layer(std::string_view metric) const;
  Config const& config() const { return runs.front().config; }
  std::unique_ptr<DepthPlan const> plan() const { return plan_depth(config().model, config().depth); }
  bool dense() const { return plan()->routed_layers().empty(); }
  RunResult const* run(int64_t seed) const;
  Decoding const* decoded(int64_t batch) const;  // null: not measured
};

// `arm` compared with `baseline`, paired by seed.
struct Pair {
  std::string arm, baseline;
  // "flops": final losses; "time": losses of both after the training time of the faster run; "cost": the final loss against that of the
  // dense frontier at the arm's cost of inference (frontier.h); "tokens": final losses of a
  // reference arm and of the arm that was trained on as many tokens (match.tokens_of).
  std::string basis;
  std::string cost;  // of the basis "cost": which one, such as "forward_flops"
  PairedDifference difference;
  std::string metric = "loss_causal";          // what is compared: the loss, or bits per byte between different tokenizers
  double arm_loss = NAN, baseline_loss = NAN;  // of that metric, means over the seeds both have; NaN without a comparison
  std::string verdict;                         // ends with `hint`, where there is one; without a comparison the reason
  std::string hint;                            // "; 5 seeds could detect about 0.4 %"
  std::string note;
  std::optional<Equivalence> equivalence;  // none with fewer than two seeds
  double p = NAN, p_holm = NAN;            // of the difference: by itself, and among `tests` arms held against the same baseline
  int64_t tests = 0;
  bool compared() const { return difference.n > 0; }
};

struct Report {
  std::string name;
  Config experiment;  // with its `compare` section where there was one
  std::optional<Registered> registered;
  std::vector<std::string> order;      // names of all arms, those without a finished run among them
  std::string budget;                  // the largest of compare.budgets, which all but `sweep` are about; empty: there is one alone
  std::vector<ArmResult> arms;         // arms with a finished run, in that order
  std::string best_dense, challenger;  // what the headline compares; empty when there is nothing to compare
  std::vector<Pair> pairs;             // challenger against best dense first
  std::vector<Frontier> frontiers;     // loss against each cost of inference that was measured
  std::vector<ReportedTask> tasks;     // by name, causal routing first
  std::vector<SweepRow> sweep;         // every arm at every size and budget, the smallest budget first; empty without sizes and budgets
  Scaling scaling;                     // of `sweep`, reference arms aside
  std::optional<Tuning> tuning;        // before the comparison
  double tuning_share = 0;             // of the FLOPs of trials and finished runs together
  std::string ranked_by;               // metric that all arms may be compared by; empty: none
  std::string headline;
  std::string command;  // command line that ran the experiment
  std::vector<std::string> warnings;
  std::vector<RunResult> unfinished;    // runs that have begun: they are drawn, not judged
  std::vector<std::string> incomplete;  // all runs that did not finish: "mod/seed-2: diverged at step 120 of 1000"
  bool running = false;                 // a run or the comparison goes on
  int64_t reload_s = 0;                 // seconds after which the page loads itself again; 0: it does not
  ArmResult const* arm(std::string const& name) const;
  bool is_reference(std::string const& arm) const;  // as the experiment says: part of no verdict at equal FLOPs, time or cost
  // The arm in this size where it has sizes, else the arm itself; null: there is none.
  ArmResult const* arm_in_size(std::string const& name, std::string const& size) const;
  // compare.baseline, in the arm's size where it has sizes; null: there is none.
  ArmResult const* baseline_of(ArmResult const& arm) const;
  Pair const* pair(std::string const& arm, std::string const& baseline, std::string const& basis) const;
  std::vector<int64_t> seeds() const;            // seeds that at least one arm has finished, ascending
  std::vector<int64_t> decoded_batches() const;  // batch sizes that at least one arm was decoded at, ascending
};

// Reads a run folder; arm: its name in the report. Throws Error(data) when there is no metrics.jsonl.
RunResult read_run(fs::path const& folder, std::string const& arm);
// Judges runs; `experiment` gives name, baseline and the order of arms.
Report make_report(Config const& experiment, std::vector<RunResult> runs);
// Of the folders of one experiment (experiment.yaml inside), which several machines may have divided, or of single runs. Throws
// Error(data) where two folders hold one run with different records.
Report read_report(std::vector<fs::path> const& folders);

// `metric` of `curve` after `time_s` seconds of training, interpolated linearly in log time between validations; nullopt outside of them.
std::optional<double> metric_at_time(std::vector<ValidationPoint> const& curve, std::string const& metric, double time_s);

// folder: where the report will lie; links to run folders start there.
nlohmann::ordered_json report_json(Report const& report, fs::path const& folder = ".");
std::string report_table(Report const& report);  // for a terminal, headline and warnings included
std::string report_html(Report const& report, fs::path const& folder = ".");
// Writes report.json and report.html; returns the latter's path.
fs::path write_report(Report const& report, fs::path const& folder);

// The routing in words: "3 routed at 12.5 %"; empty for a dense model.
std::string describe_routing(Config const& config);
std::string describe_model(Config const& config);  // "6 layers, 3 routed at 12.5 %"

}  // namespace isobath
