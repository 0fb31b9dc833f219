#pragma once
// What the best branch in hindsight would reach: the head-room that a depth network leaves.

#include <optional>
#include <vector>

#include "data/shards/shards.h"
#include "trainer/evaluate/evaluate.h"

namespace isobath {

struct Oracle {
  std::vector<double> branch_losses;  // nats per token when every token takes this branch
  double loss = 0;                    // when each takes the best for it
  double loss_same_depth = 0;         // the same with a price of depth for which the mean depth is what the model's own is
  // Do hard texts go deeper? Pearson's correlation over windows of the mean depth that tokens chose with their mean loss in the shallowest
  // branch, and its 95 % interval (Fisher's z); NaN where all windows are alike.
  double difficulty_correlation = 0, correlation_low = 0, correlation_high = 0;
};

// Of a nested model on the first tokens (2^20 at most) of the validation text; nullopt for other kinds. mean_depth: the model's own, in
// layers. A bound, and a loose one: the keys that a token sees are those of a text that took its branch as a whole.
std::optional<Oracle> branch_oracle(LanguageModel& model, TokenStream const& valid, double mean_depth, EvalSettings const& settings);

}  // namespace isobath
