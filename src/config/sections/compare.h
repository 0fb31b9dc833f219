#pragma once
// `compare`: the arms of an experiment.

#include <cstdint>
#include <string>
#include <vector>

#include "config/choice.h"
#include "config/sections/compare_tune.h"
#include "core/units.h"

namespace isobath {

enum class MatchAdjust { layers, mlp_width };
template <>
struct ChoiceNames<MatchAdjust> {
  static constexpr std::array names{"layers", "mlp_width"};
};

// `match: {forward_flops_of: dense, adjust: layers}`
struct MatchConfig {
  std::string forward_flops_of;  // name of another arm; empty: no matching
  Choice<MatchAdjust> adjust = MatchAdjust::layers;
  std::string tokens_of = {};  // trained on as many tokens as this arm, whatever they cost; empty: on the budget
};

// One assignment of an arm's `set:`, kept as text so that it goes through the same checks as any other value.
struct Assignment {
  std::string path;   // "model.layers"
  std::string value;  // YAML text of the value
  std::string where;  // "quickstart.yaml:31:14"
};

// One size of an arm's model.
struct SizeConfig {
  std::string name;
  std::vector<Assignment> set;  // applied after the arm's own
};

struct ArmConfig {
  std::string name;
  std::vector<Assignment> set;
  MatchConfig match;
  bool reference = false;  // shown beside the others, part of no verdict at equal FLOPs, time or cost
  std::vector<SizeConfig> sizes = {};
  SizeConfig const* size(std::string const& wanted) const;  // null: it has none of that name
};

struct CompareConfig {
  std::string baseline;
  std::vector<int64_t> seeds{1};
  double margin = 0.005;          // losses that differ by no more than this share count as equal
  std::vector<Duration> budgets;  // each replaces train.budget; empty: none does
  int64_t jobs = 0;               // 0: auto
  int64_t ranks_per_run = 1;
  std::vector<std::string> devices;  // that runs are handed round over; empty: all run on `device`
  TuneConfig tune;
  std::vector<ArmConfig> arms;
  std::string baseline_arm() const;  // `baseline`, or the first arm where that is empty; empty without arms
  // Runs at a time: `jobs`, or one a device (for ranks_per_run devices, where that is more) but no more than there are cores.
  int64_t runs_at_a_time() const;
};

}  // namespace isobath
