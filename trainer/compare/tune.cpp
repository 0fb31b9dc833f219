// Runs the trials of the arms, and keeps what is best.
#include "trainer/compare/tune.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "trainer/report/report.h"

namespace isobath {
namespace {

constexpr int most_extensions = 3;

Duration trial_budget(Config const& experiment) {
  std::vector<Duration> const budgets = ascending_budgets(experiment.compare);
  Duration budget = budgets.empty() ? experiment.train.budget : budgets.front();
  budget.amount *= experiment.compare.tune.share;
  if (budget.unit == Unit::step || budget.unit == Unit::token) budget.amount = std::max(1.0, std::round(budget.amount));
  return budget;
}

std::map<std::string, std::string> asked(Config const& experiment) {
  TuneConfig const& tuning = experiment.compare.tune;
  std::map<std::string, std::string> words;
  for (TunedKey const& key : tuning.keys) words["compare.tune.keys." + key.path] = fmt::format("[{}]", fmt::join(key.values, ", "));
  words["compare.tune.trials"] = tuning.trials > 0 ? fmt::format("{} (drawn with seed {})", tuning.trials, experiment.seed) : "auto";
  words["compare.tune.seeds"] = fmt::format("[{}]", fmt::join(tuning.seeds, ", "));
  words["compare.tune.extend"] = tuning.extend ? "true" : "false";
  words["a trial's budget"] = format_duration(trial_budget(experiment));
  for (ArmConfig const& arm : experiment.compare.arms) {
    auto const other = tuning.choice_of.find(arm.name);
    if (tuning.tunes(arm.name) || other != tuning.choice_of.end())
      words["arm " + arm.name] = other == tuning.choice_of.end() ? "tuned" : "takes the choice of " + other->second;
  }
  return words;
}

void check_asked(Tuning const& before, Config const& experiment, fs::path const& file) {
  std::map<std::string, std::string> const now = asked(experiment);
  std::string changes;
  auto const word = [](std::map<std::string, std::string> const& words, std::string const& key) {
    auto const found = words.find(key);
    return found == words.end() ? std::string("nothing") : found->second;
  };
  std::map<std::string, std::string> all = before.asked;
  all.insert(now.begin(), now.end());
  for (auto const& [key, value] : all)
    if (word(before.asked, key) != word(now, key))
      changes += "\n  " + key + ": " + word(before.asked, key) + " there, " + word(now, key) + " now";
  if (changes.empty()) return;
  throw Error(ExitCode::config,
              file.string() + " has chosen by another tuning:" + changes +
                  "\nGive this experiment another name (name=...), or remove the file to choose again: finished trials are "
                  "not repeated");
}

TrialResult measured_trial(Trial const& trial, std::string const& arm, std::vector<ExperimentRun> const& runs) {
  TrialResult result{trial.name, trial.settings, {}, {}};
  for (ExperimentRun const& run : runs) {
    if (run.arm != arm || run.trial != trial.name) continue;
    bool const diverged = has_diverged(run);
    if (!diverged && !is_finished(run))
      throw Error(ExitCode::incomplete, run.folder.string() + " has not finished: no setting can be chosen for arm '" + arm + "' yet");
    RunResult const read = read_run(run.folder, arm);
    result.losses.push_back(diverged ? std::numeric_limits<double>::quiet_NaN() : read.metrics["loss_causal"]);
    result.train_flops += read.train_flops;
  }
  return result;
}

// One value more beyond each edge, for all arms; without those that an arm refuses.
std::vector<Trial> extension(LoadedConfig const& base, std::vector<Trial> const& tried, std::vector<TunedArm> const& arms,
                             VocabSize const& vocab_size) {
  std::vector<Trial> added;
  auto const is_known = [&](Trial const& trial) {
    auto const same = [&](Trial const& other) { return other.name == trial.name; };
    return std::any_of(tried.begin(), tried.end(), same) || std::any_of(added.begin(), added.end(), same);
  };
  for (TunedArm const& arm : arms)
    for (TuningEdge const& edge : arm.edges)
      for (Trial const& trial : trials_beyond(tried, edge)) {
        if (is_known(trial)) continue;
        try {
          trial_runs(base, {trial}, vocab_size);
          added.push_back(trial);
        } catch (Error const& error) {
          log_warning("tuning does not try " + trial.name + ": " + error.what());
        }
      }
  return added;
}

}  // namespace

std::vector<ExperimentRun> trial_runs(LoadedConfig const& base, std::vector<Trial> const& trials, VocabSize const& vocab_size) {
  CompareConfig const& compare = base.config.compare;
  std::vector<ExperimentRun> runs;
  for (int64_t const seed : compare.tune.seeds)
    for (Trial const& trial : trials)
      for (ArmConfig const& arm : compare.arms) {
        if (!compare.tune.tunes(arm.name)) continue;
        std::vector<Assignment> set;
        for (auto const& [key, value] : trial.settings) set.push_back({key, value, "compare.tune.keys"});
        std::string const size = arm.sizes.empty() ? "" : arm.sizes.front().name;
        runs.push_back(resolve_run(base, {arm.name, seed, size, trial_budget(base.config), trial.name}, vocab_size, {{arm.name, set}}));
      }
  return runs;
}

std::vector<TunedArm> measured_arms(Config const& experiment, std::vector<Trial> const& trials, std::vector<ExperimentRun> const& runs) {
  std::vector<TunedArm> arms;
  for (ArmConfig const& arm : experiment.compare.arms) {
    if (!experiment.compare.tune.tunes(arm.name)) continue;
    TunedArm tuned{arm.name, {}, 0, {}};
    for (Trial const& trial : trials) tuned.trials.push_back(measured_trial(trial, arm.name, runs));
    for (size_t i = 0; i < trials.size(); ++i)
      if (tuned.trials[i].loss() < tuned.choice().loss()) tuned.chosen = i;
    if (!std::isfinite(tuned.choice().loss()))
      throw Error(ExitCode::non_finite, "every trial of arm '" + arm.name + "' diverged: compare.tune.keys needs gentler values");
    tuned.edges = edges_of(trials, trials[tuned.chosen]);
    arms.push_back(std::move(tuned));
  }
  return arms;
}

Tuning tune(LoadedConfig const& base, VocabSize const& vocab_size, std::function<void(std::vector<ExperimentRun> const&)> const& run) {
  fs::path const file = run_folder(base.config) / "tune.json";
  if (fs::exists(file)) {
    Tuning before = read_tuning(file);
    check_asked(before, base.config, file);
    return before;
  }
  std::vector<Trial> trials = first_trials(base.config);
  Tuning tuning{asked(base.config), {}, base.config.compare.tune.choice_of};
  for (int extensions = 0;; ++extensions) {
    std::vector<ExperimentRun> const runs = trial_runs(base, trials, vocab_size);
    run(runs);
    tuning.arms = measured_arms(base.config, trials, runs);
    if (!base.config.compare.tune.extend || extensions == most_extensions) break;
    std::vector<Trial> const added = extension(base, trials, tuning.arms, vocab_size);
    if (added.empty()) break;
    for (std::string const& warning : tuning.warnings()) log_info(warning + "; one value more is tried in every arm");
    trials.insert(trials.end(), added.begin(), added.end());
  }
  write_file_atomic(file, tuning_json(tuning).dump(2) + "\n");
  return tuning;
}

Choices choices(Config const& experiment, Tuning const& tuning) {
  Choices all;
  for (ArmConfig const& arm : experiment.compare.arms)
    if (TrialResult const* choice = tuning.choice(arm.name))
      for (auto const& [key, value] : choice->settings) all[arm.name].push_back({key, value, "tune.json"});
  return all;
}

}  // namespace isobath
