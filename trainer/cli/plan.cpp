// isobath plan: what an experiment will cost, before anything is allocated.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "config/io.h"
#include "core/units.h"
#include "trainer/cli/commands.h"
#include "trainer/compare/arms.h"
#include "trainer/compare/experiment.h"
#include "trainer/compare/foresight.h"
#include "trainer/compare/tune.h"
#include "trainer/pretrained/experiment_config.h"
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

void plan(Target const& target, bool prepare, bool as_json) {
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
  std::vector<std::string> notes = missing_dense_arms(plans);
  for (std::string& note : costs_by_length(plans, loaded.config.compare.baseline_arm())) notes.push_back(std::move(note));
  if (!loaded.config.compare.arms.empty()) notes.push_back(what_seeds_can_show(loaded.config));
  Totals const totals = totals_of(loaded, plans, vocab_size, size);
  if (!as_json) {
    std::cout << plan_table(plans, size) << totals_text(totals);
    for (std::string const& note : notes) std::cout << "note: " << note << "\n";
    return;
  }
  nlohmann::ordered_json json = plan_json(plans, size);
  json["runs"] = totals.runs;
  json["train_flops"] = totals.flops;
  json["tuning"] = {{"trials", totals.trials}, {"train_flops", totals.tuning_flops}};
  json["notes"] = notes;
  std::cout << json.dump(2) << "\n";
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
  command->callback([target, prepare, as_json] { plan(*target, *prepare, *as_json); });
}

}  // namespace isobath
