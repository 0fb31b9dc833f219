// isobath compare: every arm and seed of an experiment at equal compute, then the report.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <exception>
#include <iostream>
#include <list>
#include <map>

#include "config/io.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"
#include "nn/device.h"
#include "trainer/bench/compare_decoding.h"
#include "trainer/cli/commands.h"
#include "trainer/compare/arms.h"
#include "trainer/compare/experiment.h"
#include "trainer/compare/foresight.h"
#include "trainer/pretrained/experiment_config.h"
#include "trainer/report/report.h"
#include "trainer/run/build_id.h"
#include "trainer/run/machine.h"
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

std::unique_ptr<FileLock> lock_folder(fs::path const& folder) {
  fs::create_directories(folder);
  try {
    return std::make_unique<FileLock>(folder / ".lock", /*wait=*/false);
  } catch (Error const&) {
    throw Error(ExitCode::config,
                "another process is comparing in " + folder.string() + "; wait for it, or give this comparison another name=");
  }
}

std::string command_line(Target const& target) {
  std::string line = "isobath compare " + target.path;
  for (std::string const& word : target.overrides)
    line += word.find_first_of(" '\"$&;|<>()*?") == std::string::npos ? " " + word : " '" + word + "'";
  return line;
}

void log_plans(std::vector<ExperimentRun> const& runs, std::map<std::string, ArmPlan> const& plans) {
  log_info(std::to_string(runs.size()) + " runs");
  for (auto const& [name, plan] : plans) {
    log_info("  " + name + ": " + describe_model(plan.config) + ", " + format_si(plan.forward()) + " forward FLOPs a token, " +
             std::to_string(plan.steps) + " steps, " + format_si(static_cast<double>(plan.train_flops)) + " training FLOPs");
    for (std::string const& warning : plan.warnings) log_warning(name + ": " + warning);
  }
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

void compare(Target const& target, double minutes) {
  LoadedConfig const base = load_experiment(target.path, target.overrides);
  bool const gpu = open_device(base.config.device).is_cuda();  // throws for a missing device before the text is prepared
  Texts texts;
  auto const vocab_size = [&](Config const& config) { return texts.of(config).tokenizer->vocab_size(); };
  std::vector<ExperimentRun> const runs = resolve_runs(base, vocab_size);

  fs::path const folder = run_folder(base.config);
  auto const lock = lock_folder(folder);
  for (ExperimentRun const& run : runs) check_run_folder(run);
  std::map<std::string, ArmPlan> plans;
  for (ExperimentRun const& run : runs)
    if (!plans.contains(run.arm))
      plans.emplace(run.arm, plan_arm(run.arm, run.config, vocab_size(run.config), measured_data(texts.of(run.config)),
                                      micro_batch_sequences(run.config, gpu) * run.config.model.context));
  for (ExperimentRun const& run : runs) check_schedule(run, plans.at(run.arm));
  write_file_atomic(folder / "experiment.yaml", to_yaml(base.config));  // after all that may be refused
  keep_registered(folder, base.config, build_revision());
  write_file_atomic(folder / "command.txt", command_line(target) + "\n");
  log_plans(runs, plans);
  std::vector<ArmPlan> of_arms;
  for (auto const& [name, plan] : plans) of_arms.push_back(plan);
  for (std::string const& note : missing_dense_arms(of_arms)) log_warning(note);

  ExperimentSettings settings;
  settings.jobs = base.config.compare.jobs;
  settings.minutes = minutes;
  settings.plan = [&](ExperimentRun const& run) -> ArmPlan const& { return plans.at(run.arm); };
  std::vector<FailedRun> const failed = run_with_live_report(runs, settings, folder);
  discard_outdated_decoding(runs);
  LiveReport(folder).write(0);  // decoding may end this process, for instance by taking too much memory

  set_threads(base.config.train.threads);
  std::string const failure = try_to_measure_decoding(runs, texts);
  Report report = read_report({folder});
  report.running = false;  // this process holds the lock of the comparison
  if (!failure.empty()) report.warnings.push_back(failure);
  fs::path const page = write_report(report, folder);
  std::cout << report_table(report) << "\nreport: " << page.string() << "\n";
  if (failed.empty()) return;
  std::string message =
      std::to_string(failed.size()) + " of " + std::to_string(runs.size()) + " runs failed; the same command tries them again";
  for (FailedRun const& run : failed) message += "\n" + run.label + ", exit code " + std::to_string(run.exit_code) + ":\n" + run.last_lines;
  throw Error(ExitCode::incomplete, message);
}

}  // namespace

void add_compare(CLI::App& app) {
  CLI::App* command = app.add_subcommand("compare", "Train every arm and seed at equal compute and report who won, by how much");
  command->group("Compare");
  auto const target = add_target(*command, "CONFIG", "Experiment with a compare section; goes on where it was interrupted");
  auto const minutes = std::make_shared<double>(0);
  command
      ->add_option("--minutes", *minutes, "Stop after this long (running runs save) and leave with exit code 9; the same command goes on")
      ->check(CLI::PositiveNumber);
  command->callback([target, minutes] { compare(*target, *minutes); });
}

}  // namespace isobath
