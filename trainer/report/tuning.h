#pragma once
// What compare.tune has tried and chosen, as it lies in tune.json. Uses no LibTorch.

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/sections/compare.h"
#include "core/files.h"
#include "core/int128.h"

namespace isobath {

using TunedSettings = std::vector<std::pair<std::string, std::string>>;  // key and YAML text of its value

struct TrialResult {
  std::string name;  // "lr-2e-3"
  TunedSettings settings;
  std::vector<double> losses;  // causal, final, by seed of compare.tune.seeds; NaN: diverged
  Int128 train_flops;          // of all seeds
  double loss() const;         // their mean; infinite when one diverged
};

// A chosen value with nothing tried beyond it.
struct TuningEdge {
  std::string key, value;
  bool is_largest = false;
};

struct TunedArm {
  std::string arm;
  std::vector<TrialResult> trials;
  size_t chosen = 0;  // index of the best
  std::vector<TuningEdge> edges;
  TrialResult const& choice() const { return trials[chosen]; }
};

struct Tuning {
  std::map<std::string, std::string> asked;  // what was to be tuned, in words: a rerun that asks for something else is refused
  std::vector<TunedArm> arms;
  std::map<std::string, std::string> choice_of;  // by arm: the tuned arm whose choice it takes
  Int128 train_flops() const;
  size_t trials() const;  // runs, over all arms and seeds
  // What an arm takes, its own choice or another's; null: it is not tuned.
  TrialResult const* choice(std::string const& arm) const;
  std::vector<std::string> warnings() const;  // "mod: the best train.lr, 4e-3, is the largest tried: ..."
};

Tuning read_tuning(fs::path const& file);  // throws Error(data)
nlohmann::ordered_json tuning_json(Tuning const& tuning);
std::string tuning_table(Tuning const& tuning, double share_of_all);  // for a terminal

}  // namespace isobath
