// isobath plan: what an experiment will cost, before anything is allocated.

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "config/io.h"
#include "trainer/cli/commands.h"
#include "trainer/compare/arms.h"
#include "trainer/compare/experiment.h"
#include "trainer/compare/foresight.h"
#include "trainer/pretrained/experiment_config.h"
#include "trainer/train/learner.h"

namespace isobath {
namespace {

// Every arm with the first seed; a configuration without arms counts as one arm.
std::vector<std::pair<std::string, Config>> arms_of(LoadedConfig const& loaded, VocabSize const& vocab_size) {
  CompareConfig const& compare = loaded.config.compare;
  if (compare.arms.empty()) return {{loaded.config.name, loaded.config}};
  std::vector<std::pair<std::string, Config>> arms;
  for (ArmConfig const& arm : compare.arms) arms.emplace_back(arm.name, resolve_arm(loaded, arm.name, compare.seeds.front(), vocab_size));
  return arms;
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
  if (!loaded.config.compare.arms.empty()) notes.push_back(what_seeds_can_show(loaded.config));
  if (as_json) {
    nlohmann::ordered_json json = plan_json(plans, size);
    json["notes"] = notes;
    std::cout << json.dump(2) << "\n";
    return;
  }
  std::cout << plan_table(plans, size);
  for (std::string const& note : notes) std::cout << "note: " << note << "\n";
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
