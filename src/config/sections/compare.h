#pragma once
// `compare`: the arms of an experiment.

#include <cstdint>
#include <string>
#include <vector>

#include "config/choice.h"

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
};

// One assignment of an arm's `set:`, kept as text so that it goes through the same checks as any other value.
struct Assignment {
  std::string path;   // "model.layers"
  std::string value;  // YAML text of the value
  std::string where;  // "quickstart.yaml:31:14"
};

struct ArmConfig {
  std::string name;
  std::vector<Assignment> set;
  MatchConfig match;
  bool reference = false;  // shown beside the others, part of no verdict
};

struct CompareConfig {
  std::string baseline;
  std::vector<int64_t> seeds{1};
  double margin = 0.005;  // losses that differ by no more than this share count as equal
  int64_t jobs = 1;       // runs at a time, each with its share of the cores
  std::vector<ArmConfig> arms;
};

}  // namespace isobath
