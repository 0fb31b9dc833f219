#pragma once
// Tuning before a comparison: every arm tries the same settings, and keeps its best one. Uses no LibTorch.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "trainer/compare/experiment.h"
#include "trainer/report/tuning.h"

namespace isobath {

struct Trial {
  std::string name;  // of its folder: "lr-2e-3"
  TunedSettings settings;
};

// The settings that every tuned arm tries at first: combinations of compare.tune.keys in their order, all of them or as many as asked for,
// which the experiment's seed then draws.
std::vector<Trial> first_trials(Config const& experiment);
// The settings with one value more beyond an edge, which is a step of the same ratio as the last: each trial at the edge with that value
// instead. Empty where the key takes no such value.
std::vector<Trial> trials_beyond(std::vector<Trial> const& tried, TuningEdge const& edge);
// Tuned keys of which the trial has the smallest or largest value that was tried.
std::vector<TuningEdge> edges_of(std::vector<Trial> const& tried, Trial const& trial);

// Runs of these trials in every tuned arm, at compare.tune.share of its smallest budget and in its first size.
std::vector<ExperimentRun> trial_runs(LoadedConfig const& base, std::vector<Trial> const& trials, VocabSize const& vocab_size);
// What the runs of these trials have measured in every tuned arm. Throws Error(incomplete) naming a run that has neither finished nor
// diverged.
std::vector<TunedArm> measured_arms(Config const& experiment, std::vector<Trial> const& trials, std::vector<ExperimentRun> const& runs);

// Tries and chooses, or reads what was chosen before. `run` runs the unfinished ones among the runs that it is given. Throws Error(config)
// when something else was tuned before.
Tuning tune(LoadedConfig const& base, VocabSize const& vocab_size, std::function<void(std::vector<ExperimentRun> const&)> const& run);
Choices choices(Config const& experiment, Tuning const& tuning);

}  // namespace isobath
