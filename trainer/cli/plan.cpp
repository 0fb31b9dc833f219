// isobath plan: what an experiment will cost, before anything is allocated.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "config/io.h"
#include "core/error.h"
#include "core/streams.h"
#include "core/units.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/options.h"
#include "trainer/compare/arms.h"
#include "trainer/compare/experiment.h"
#include "trainer/compare/foresight.h"
#include "trainer/compare/tune.h"
#include "trainer/launch/predict_ranks.h"
#include "trainer/pretrained/experiment_config.h"
#include "trainer/report/report.h"
#include "trainer/run/memory.h"
#include "trainer/train/learner.h"

namespace isobath {
namespace {

// Every arm in every size and at every budget with the first seed; a configuration without arms counts as one arm.
std::vector<std::pair<std::string, Config>> arms_of(LoadedConfig const& loaded, VocabSize const& vocab_size) {
  CompareConfig const& compare = loaded.config.compare;
  if (compare.arms.empty()) return {{loaded.config.name, loaded.config}};
  std::vector<std::pair<std::string, Config>> arms;
  for (RunId const& run : experiment_runs(compare))
    if (run.seed == compare.seeds.front()) arms.emplace_back(run.family(), resolve_config(loaded, run, vocab_size));
  return arms;
}

// Runs and training FLOPs of a whole experiment, over all seeds.
struct Totals {
  size_t runs = 0, trials = 0;
  double flops = 0, tuning_flops = 0;
};

Totals totals_of(LoadedConfig const& loaded, std::vector<ArmPlan> const& plans, VocabSize const& vocab_size, DataSize const& size) {
  CompareConfig const& compare = loaded.config.compare;
  Totals totals;
  if (compare.arms.empty()) return totals;
  totals.runs = plans.size() * compare.seeds.size();
  for (ArmPlan const& plan : plans) totals.flops += static_cast<double>(plan.train_flops) * static_cast<double>(compare.seeds.size());
  if (!compare.tune.is_on()) return totals;
  for (ExperimentRun const& run : trial_runs(loaded, first_trials(loaded.config), vocab_size)) {
    ArmPlan const plan = plan_arm(run.group(), run.config, vocab_size(run.config), size, run.config.train.batch_tokens);
    totals.tuning_flops += static_cast<double>(plan.train_flops);
    ++totals.trials;
  }
  return totals;
}

std::string totals_text(Totals const& totals) {
  if (totals.runs == 0) return "";
  std::string text = fmt::format("all runs: {}, {} training FLOPs\n", totals.runs, format_si(totals.flops));
  if (totals.trials > 0)
    text += fmt::format("tuning before them: {} trials, {} training FLOPs, {:.1f} % of the whole\n", totals.trials,
                        format_si(totals.tuning_flops), 100 * totals.tuning_flops / (totals.tuning_flops + totals.flops));
  return text;
}

// Options that say how many ranks on which machines are to be predicted.
struct RankOptions {
  int64_t ranks = 0;  // 0: nothing is predicted
  std::string interconnect = "50GB/s", latency = "5us", device;
  std::vector<std::string> measured;
  double utilisation = 0.4;

  RankDevice device_of(Config const& config) const {
    if (measured.empty()) return known_device(device, config.precision, utilisation);
    std::vector<MeasuredStep> steps;
    std::string name, runs;
    for (std::string const& folder : measured) {
      RunResult const run = read_run(folder, folder);
      double const step_s = run.metrics["step_time_s"], flops = run.metrics["train_flops_per_step"];
      if (!(step_s > 0 && flops > 0)) throw Error(ExitCode::config, "--measured: " + folder + " has no finished run with step times");
      if (run.metrics.contains("ranks") && run.metrics["ranks"] > 1)
        throw Error(ExitCode::config, "--measured: " + folder + " is a run of several ranks; give one of a single process");
      if (!steps.empty() && run.device != name)
        throw Error(ExitCode::config, "--measured: " + folder + " ran on " + run.device + ", the other run on " + name);
      steps.push_back({run.config, flops, step_s});
      name = run.device;
      runs += (runs.empty() ? "" : " and ") + folder;
    }
    RankDevice measured_on = measured_device(name + ", as " + runs, steps);
    measured_on.communicates_beside = !name.starts_with("cpu");
    return measured_on;
  }
};

// The text, and in `json` the same as numbers of each arm.
std::string predict(std::vector<ArmPlan> const& plans, RankOptions const& options, nlohmann::ordered_json& json) {
  std::string text;
  if (options.ranks < 1) return text;
  Interconnect const interconnect{parse_rate(options.interconnect), parse_latency(options.latency)};
  for (ArmPlan const& plan : plans) {
    RankDevice const device = options.device_of(plan.config);
    std::vector<RankPrediction> const predictions = predict_up_to(plan, options.ranks, device, interconnect);
    json[plan.name] = prediction_json(predictions);
    text += "\n" + prediction_table(plan, predictions, device);
    if (predictions.back().ranks < options.ranks)
      text += fmt::format("more than {} ranks need a larger train.batch_tokens: each takes whole sequences\n", predictions.back().ranks);
  }
  return text;
}

// Of a run on this machine's CPU.
void add_memory_warning(ArmPlan& plan) {
  if (plan.config.device.starts_with("cuda")) return;
  try {
    if (auto const warning = check_memory(plan.config, plan.memory)) plan.warnings.push_back(*warning);
  } catch (Error const& refusal) {
    plan.warnings.push_back(refusal.what());
  }
}

void plan(Target const& target, bool prepare, bool as_json, RankOptions const& ranks) {
  LoadedConfig const loaded = load_experiment(target.path, target.overrides);
  auto const vocab_size = [](Config const& config) { return planned_vocab_size(config.tokenizer); };
  auto const size_of = [&](Config const& config) { return prepare ? measured_data(prepare_data(config)) : estimate_data(config); };
  DataSize const size = size_of(loaded.config);
  std::vector<ArmPlan> plans;
  for (auto const& [name, config] : arms_of(loaded, vocab_size)) {
    bool const own_text = !same_text(config, loaded.config);
    plans.push_back(plan_arm(name, config, vocab_size(config), own_text ? size_of(config) : size,
                             micro_batch_sequences(config, config.device.starts_with("cuda")) * config.model.context));
  }
  for (ArmPlan& plan : plans) add_memory_warning(plan);
  std::vector<std::string> notes = missing_dense_arms(plans);
  for (std::string& note : costs_by_length(plans, loaded.config.compare.baseline_arm())) notes.push_back(std::move(note));
  if (!loaded.config.compare.arms.empty()) notes.push_back(what_seeds_can_show(loaded.config));
  Totals const totals = totals_of(loaded, plans, vocab_size, size);
  nlohmann::ordered_json predicted;
  std::string const predictions = predict(plans, ranks, predicted);
  if (!as_json) {
    standard_output() << plan_table(plans, size) << totals_text(totals);
    for (std::string const& note : notes) standard_output() << "note: " << note << "\n";
    standard_output() << predictions;
    return;
  }
  nlohmann::ordered_json json = plan_json(plans, size);
  json["runs"] = totals.runs;
  json["train_flops"] = totals.flops;
  json["tuning"] = {{"trials", totals.trials}, {"train_flops", totals.tuning_flops}};
  json["notes"] = notes;
  if (!predicted.is_null()) json["on_ranks"] = predicted;
  standard_output() << json.dump(2) << "\n";
}

}  // namespace

void add_plan(CLI::App& app) {
  CLI::App* command = app.add_subcommand("plan", "Parameters, FLOPs, steps and memory of every arm, before anything is allocated");
  command->group("Compare");
  auto const target = add_target(*command, "CONFIG", "Experiment to plan");
  auto const prepare = std::make_shared<bool>(false);
  auto const as_json = std::make_shared<bool>(false);
  command->add_flag("--data", *prepare, "Prepare the text first and count its tokens instead of guessing");
  command->add_flag("--json", *as_json, "JSON instead of a table");
  auto const ranks = std::make_shared<RankOptions>();
  auto* const count = add_number(*command, &ranks->ranks,
                                 {.name = "--ranks",
                                  .help = "Predict memory, communication and speed for 1, 2, 4, ... up to so many processes",
                                  .min = 1,
                                  .max = 65536});
  command->add_option("--device", ranks->device, "What each of them computes on: h100, h200, b200, a100")->needs(count);
  add_number(
      *command, &ranks->utilisation,
      {.name = "--utilisation", .help = "Share of the device's peak that training reaches", .kind = Kind::fraction, .min = 0.01, .max = 1})
      ->needs(count);
  command
      ->add_option("--measured", ranks->measured,
                   "Instead of --device: a finished run of one process, for its speed; two of different width, where CONFIG's is another")
      ->needs(count)
      ->expected(1, 2)
      ->delimiter(',');
  command->add_option("--interconnect", ranks->interconnect, "What one of them sends: 50GB/s, 100Gbit/s")->needs(count);
  command->add_option("--latency", ranks->latency, "Of one message: 5us, 1ms")->needs(count);
  command->callback([target, prepare, as_json, ranks] {
    if (ranks->ranks > 0 && ranks->device.empty() == ranks->measured.empty())
      throw Error(ExitCode::config, "--ranks needs either --device or --measured: they say how fast each process computes");
    plan(*target, *prepare, *as_json, *ranks);
  });
}

}  // namespace isobath
