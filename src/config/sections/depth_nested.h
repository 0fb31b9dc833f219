#pragma once
// `depth` of kind nested: branches of different depth that share their first layers.

#include <cstdint>
#include <vector>

#include "config/choice.h"
#include "config/sections/model.h"

namespace isobath {

enum class BranchChoice { token, sequence, expert };
template <>
struct ChoiceNames<BranchChoice> {
  static constexpr std::array names{"token", "sequence", "expert"};
};
enum class GateTraining { weight, gumbel, hindsight };
template <>
struct ChoiceNames<GateTraining> {
  static constexpr std::array names{"weight", "gumbel", "hindsight"};
};
enum class Balance { none, loss, bias };
template <>
struct ChoiceNames<Balance> {
  static constexpr std::array names{"none", "loss", "bias"};
};

struct NestedOptions {
  std::vector<int64_t> exits;  // layers after which tokens may stop, ascending; the last layer is one more
  int64_t decide_after = 0;    // 0: auto
  Choice<BranchChoice> choice = BranchChoice::token;
  int64_t prefix = 0;  // 0: auto
  Choice<GateTraining> gate_training = GateTraining::weight;
  double hindsight_temperature = 0.1;
  Choice<Balance> balance = Balance::none;
  double balance_weight = 0.01;
  double price_rate = 0.01;
  bool recursion = false;   // stacks behind the first exit share their weights
  bool exit_norms = false;  // a final norm for every branch
};

// Values that `auto` stands for.
int64_t resolved_decide_after(NestedOptions const&);                // the first exit
int64_t resolved_prefix(ModelConfig const&, NestedOptions const&);  // max(1, context / 8)

}  // namespace isobath
