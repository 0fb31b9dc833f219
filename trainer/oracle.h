#pragma once
// What the best branch in hindsight would reach: the head-room that a depth network leaves.

#include <optional>
#include <vector>

#include "data/shards.h"
#include "trainer/evaluate.h"

namespace isobath {

struct Oracle {
  std::vector<double> branch_losses;  // nats per token when every token takes this branch
  double loss = 0;                    // when each takes the best for it
  double loss_same_depth = 0;         // the same with a price of depth for which the mean depth is what the model's own is
};

// Of a nested model on the first tokens (2^20 at most) of the validation text; nullopt for other kinds. mean_depth: the model's own, in
// layers. A bound, and a loose one: the keys that a token sees are those of a text that took its branch as a whole.
std::optional<Oracle> branch_oracle(LanguageModel& model, TokenStream const& valid, double mean_depth, EvalSettings const& settings);

}  // namespace isobath
