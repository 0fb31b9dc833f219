#pragma once
// Which runs an experiment has, and where they lie below its folder.

#include <optional>
#include <string>
#include <vector>

#include "config/sections/compare.h"

namespace isobath {

// One run of an experiment, by what tells it from the others.
struct RunId {
  std::string arm;
  int64_t seed = 0;
  std::string size = {};                // empty: the arm has no sizes
  std::optional<Duration> budget = {};  // empty: train.budget
  std::string trial = {};               // of tuning: the name of the setting that is tried; empty: a run of the comparison
  std::string family() const;           // as an arm of the report: "mod/small"
  std::string group() const;            // its runs with all seeds: "mod/3e12flop/small", "tune/mod/lr-2e-3"
  std::string path() const;             // its folder below the experiment's: group()/seed-N
};

// The runs of the comparison: seed by seed, in each the budgets from the smallest, in each the arms with their sizes.
std::vector<RunId> experiment_runs(CompareConfig const& compare);
std::vector<Duration> ascending_budgets(CompareConfig const& compare);

}  // namespace isobath
