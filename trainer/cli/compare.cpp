// isobath compare: every arm and seed of an experiment at equal compute, then the report.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <exception>
#include <list>
#include <map>
#include <set>

#include "config/io.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"
#include "core/streams.h"
#include "nn/device.h"
#include "trainer/bench/compare_decoding.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/options.h"
#include "trainer/compare/arms.h"
#include "trainer/compare/experiment.h"
#include "trainer/compare/foresight.h"
#include "trainer/compare/shard.h"
#include "trainer/compare/tune.h"
#include "trainer/launch/rank_place.h"
#include "trainer/pretrained/experiment_config.h"
#include "trainer/report/report.h"
#include "trainer/run/build_id.h"
#include "trainer/run/machine.h"
#include "trainer/run/memory.h"
#include "trainer/train/learner.h"

namespace isobath {
namespace {

// Prepared texts; runs with the same data and tokenizer settings share one.
class Texts {
 public:
  PreparedData const& of(Config const& config) {
    for (auto const& [owner, data] : texts_)
      if (same_text(owner, config)) return data;
    return texts_.emplace_back(config, prepare_data(config)).second;
  }

 private:
  std::list<std::pair<Config, PreparedData>> texts_;
};

// What each arm costs, at each size and budget.
class Plans {
 public:
  Plans(Texts& texts, int64_t ranks_per_run) : texts_(texts), ranks_per_run_(ranks_per_run) {}

  // Throws Error(config) where a folder holds another run, or more of this one than is asked for.
  void add(std::vector<ExperimentRun> const& runs) {
    for (ExperimentRun const& run : runs) check_run_folder(run);
    for (ExperimentRun const& run : runs) {
      if (plans_.contains(run.group())) continue;
      PreparedData const& text = texts_.of(run.config);
      int64_t const sequences = micro_batch_sequences(run.config, open_device(run.config.device).is_cuda(), ranks_per_run_);
      plans_.emplace(run.group(), plan_arm(run.group(), run.config, text.tokenizer->vocab_size(), measured_data(text),
                                           sequences * run.config.model.context));
    }
    for (ExperimentRun const& run : runs) check_schedule(run, of(run));
  }

  // Throws Error(allocation) where a run that is not finished would find too little memory beside those that run at the same time.
  void check_memory_of(std::vector<ExperimentRun> const& runs, CompareConfig const& compare) const {
    int64_t const processes = std::min<int64_t>(std::ssize(runs), compare.runs_at_a_time()) * compare.ranks_per_run;
    for (ExperimentRun const& run : runs)
      if (!open_device(run.config.device).is_cuda() && !is_finished(run)) check_memory(run.config, of(run).memory, processes);
  }
  ArmPlan const& of(ExperimentRun const& run) const { return plans_.at(run.group()); }

  // A line for each plan of these runs.
  void log(std::vector<ExperimentRun> const& runs) const {
    log_info(std::to_string(runs.size()) + " runs");
    std::set<std::string> told;
    for (ExperimentRun const& run : runs) {
      if (!told.insert(run.group()).second) continue;
      ArmPlan const& plan = of(run);
      log_info("  " + plan.name + ": " + describe_model(plan.config) + ", " + format_si(plan.forward()) + " forward FLOPs a token, " +
               std::to_string(plan.steps) + " steps, " + format_si(static_cast<double>(plan.train_flops)) + " training FLOPs");
      for (std::string const& warning : plan.warnings) log_warning(plan.name + ": " + warning);
    }
  }

 private:
  Texts& texts_;
  int64_t ranks_per_run_;
  std::map<std::string, ArmPlan> plans_;  // by RunId::group
};

std::string command_line(Target const& target) {
  std::string line = "isobath compare " + target.path;
  for (std::string const& word : target.overrides)
    line += word.find_first_of(" '\"$&;|<>()*?") == std::string::npos ? " " + word : " '" + word + "'";
  return line;
}

// Keeps the page of a running comparison current: at first every few seconds, later once a minute.
class LiveReport {
 public:
  explicit LiveReport(fs::path folder) : folder_(std::move(folder)) {}

  void refresh() {
    auto const now = Clock::now();
    if (now < next_) return;
    auto const wait = std::clamp<int64_t>(std::chrono::duration_cast<std::chrono::seconds>(now - started_).count() / 20, 5, 60);
    write(wait);
    next_ = now + std::chrono::seconds(wait);
  }

  // reload_s: seconds after which the page loads itself again; 0: nothing runs any more.
  void write(int64_t reload_s) {
    try {
      Report report = read_report({folder_});
      report.running = reload_s > 0;
      report.reload_s = reload_s;
      write_report(report, folder_);
    } catch (Error const& error) {  // a page that cannot be written stops no run
      if (!warned_) log_warning(std::string("the report is not kept current: ") + error.what());
      warned_ = true;
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  fs::path folder_;
  Clock::time_point const started_ = Clock::now();
  Clock::time_point next_ = started_;
  bool warned_ = false;
};

// Runs the runs; the page is current meanwhile, and when they are stopped.
std::vector<FailedRun> run_with_live_report(std::vector<ExperimentRun> const& runs, ExperimentSettings settings, fs::path const& folder) {
  LiveReport page(folder);
  settings.refresh = [&] { page.refresh(); };
  try {
    return run_experiment(runs, settings);
  } catch (...) {
    page.write(0);
    throw;
  }
}

// Measures decoding. Returns an error message, or an empty string when it succeeded. When a stop was requested, the exception ends the
// program.
std::string try_to_measure_decoding(std::vector<ExperimentRun> const& runs, Texts& texts) {
  try {
    measure_decoding(runs, [&](Config const& config) -> PreparedData const& { return texts.of(config); });
    return "";
  } catch (std::exception const& error) {
    if (stop_requested()) throw;
    std::string const what = error.what();
    std::string const failure = "decoding failed and is not in the report: " + what.substr(0, what.find('\n'));
    log_warning(failure);
    return failure;
  }
}

Error failure(std::vector<FailedRun> const& failed, size_t runs) {
  std::string message = std::to_string(failed.size()) + " of " + std::to_string(runs) + " runs failed; the same command tries them again";
  for (FailedRun const& run : failed) message += "\n" + run.label + ", exit code " + std::to_string(run.exit_code) + ":\n" + run.last_lines;
  return {ExitCode::incomplete, message};
}

// One call of the command.
class Comparison {
 public:
  Comparison(Target const& target, double minutes, ExperimentShard const& shard)
      : base_(load_experiment(target.path, target.overrides)), command_(command_line(target)), minutes_(minutes), shard_(shard) {}

  void go() {
    for (std::string const& device : base_.config.compare.devices) open_device(device);
    open_device(base_.config.device);                                    // throws for a missing device before the text is prepared
    std::vector<ExperimentRun> runs = resolve_runs(base_, vocab_size_);  // before anything is tuned, for what cannot be run
    ExperimentLock const lock(folder_, shard_);
    if (base_.config.compare.tune.is_on()) runs = tuned_runs();
    runs = of_shard(runs, shard_);
    plans_.add(runs);
    plans_.check_memory_of(runs, base_.config.compare);
    write_request();
    plans_.log(runs);
    if (shard_.is_all())
      run_all(runs);
    else
      run_shard(runs);
  }

 private:
  using Clock = std::chrono::steady_clock;

  std::vector<ExperimentRun> tuned_runs() {
    Tuning const tuning = tune(base_, vocab_size_, [&](std::vector<ExperimentRun> const& trials) { run_trials(trials); });
    for (TunedArm const& arm : tuning.arms) log_info("tuned " + arm.arm + ": " + arm.choice().name);
    for (std::string const& warning : tuning.warnings()) log_warning(warning);
    return resolve_runs(base_, vocab_size_, choices(base_.config, tuning));
  }

  // A trial that diverges is a bad setting, not a failure.
  void run_trials(std::vector<ExperimentRun> const& all) {
    std::vector<ExperimentRun> mine = of_shard(all, shard_);
    std::erase_if(mine, has_diverged);
    plans_.add(mine);
    write_request();
    log_info("tuning: " + std::to_string(all.size()) + " trials");
    std::vector<FailedRun> failed = run_experiment(mine, settings("then the comparison"));
    std::erase_if(failed, [](FailedRun const& run) { return run.exit_code == static_cast<int>(ExitCode::non_finite); });
    if (!failed.empty()) throw failure(failed, mine.size());
    auto const open = std::count_if(all.begin(), all.end(), [](auto const& run) { return !is_finished(run) && !has_diverged(run); });
    if (open > 0)
      throw Error(ExitCode::incomplete, "the trials of shard " + shard_.text() + " are finished, " + std::to_string(open) +
                                            " of other shards are not: when they are in " + folder_.string() +
                                            ", too, the same command goes on");
  }

  void run_all(std::vector<ExperimentRun> const& runs) {
    std::vector<FailedRun> const failed = run_with_live_report(runs, settings("then decoding"), folder_);
    discard_outdated_decoding(runs);
    // Decoding may end this process, for instance by taking too much memory.
    if (!is_decoding_measured(runs)) LiveReport(folder_).write(0);
    set_threads(base_.config.train.threads);
    std::string const undecoded = try_to_measure_decoding(runs, texts_);
    Report report = read_report({folder_});
    report.running = false;  // this process holds the lock of the comparison
    if (!undecoded.empty()) report.warnings.push_back(undecoded);
    fs::path const page = write_report(report, folder_);
    standard_output() << report_table(report) << "\nreport: " << page.string() << "\n";
    if (!failed.empty()) throw failure(failed, runs.size());
  }

  void run_shard(std::vector<ExperimentRun> const& runs) {
    std::vector<FailedRun> const failed = run_experiment(runs, settings(""));
    standard_output() << runs.size() - failed.size() << " of " << runs.size()
                      << " runs of this shard are finished; the report of all: isobath report " << folder_.string() << "\n";
    if (!failed.empty()) throw failure(failed, runs.size());
  }

  ExperimentSettings settings(std::string const& afterwards) const {
    ExperimentSettings settings;
    settings.jobs = base_.config.compare.runs_at_a_time();
    settings.ranks_per_run = base_.config.compare.ranks_per_run;
    settings.devices = base_.config.compare.devices;
    settings.afterwards = afterwards;
    double const gone = std::chrono::duration<double>(Clock::now() - started_).count() / 60;
    if (minutes_ > 0) settings.minutes = std::max(1e-9, minutes_ - gone);
    settings.plan = [this](ExperimentRun const& run) -> ArmPlan const& { return plans_.of(run); };
    return settings;
  }

  // After all that may be refused.
  void write_request() const {
    write_file_atomic(folder_ / "experiment.yaml", to_yaml(base_.config));
    keep_registered(folder_, base_.config, build_revision());
    write_file_atomic(folder_ / "command.txt", command_ + "\n");
  }

  LoadedConfig const base_;
  std::string const command_;
  double const minutes_;
  ExperimentShard const shard_;
  fs::path const folder_ = run_folder(base_.config);
  Clock::time_point const started_ = Clock::now();
  Texts texts_;
  VocabSize const vocab_size_ = [this](Config const& config) { return texts_.of(config).tokenizer->vocab_size(); };
  Plans plans_{texts_, base_.config.compare.ranks_per_run};
};

}  // namespace

void add_compare(CLI::App& app) {
  CLI::App* command = app.add_subcommand("compare", "Train every arm and seed at equal compute and report who won, by how much");
  command->group("Compare");
  auto const target = add_target(*command, "CONFIG", "Experiment with a compare section; goes on where it was interrupted");
  auto const minutes = std::make_shared<double>(0);
  add_number(*command, minutes.get(),
             {.name = "--minutes",
              .help = "Stop after this long (running runs save) and leave with exit code 9; the same command goes on",
              .kind = Kind::real,
              .min = 1e-6,
              .max = 1e7});
  auto const shard = std::make_shared<std::string>("1/1");
  command->add_option("--shard", *shard, "Run part i of n of the runs, on one of n machines; `report` reads what all have run")
      ->type_name("i/n");
  command->callback([target, minutes, shard] {
    if (RankPlace const place = find_rank_place(); !place.alone())
      throw Error(ExitCode::config, "started " + std::to_string(place.size) + " times by " + place.launcher +
                                        ", but a comparison is one process: compare.ranks_per_run has several train each run, --shard i/n "
                                        "divides the runs among machines");
    Comparison(*target, *minutes, parse_shard(*shard)).go();
  });
}

}  // namespace isobath
