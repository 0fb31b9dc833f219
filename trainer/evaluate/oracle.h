#pragma once
// The loss of a nested model if every token took its best branch, chosen in hindsight: the head-room of its depth network.

#include <optional>
#include <vector>

#include "data/shards/shards.h"
#include "trainer/evaluate/evaluate.h"

namespace isobath {

struct Oracle {
  std::vector<double> branch_losses;  // nats per token when every token takes this branch
  double loss = 0;                    // when every token takes the branch with its lowest loss
  double loss_same_depth = 0;         // the same with a price per layer that makes the mean depth equal to the model's own
  // Whether harder text goes deeper: Pearson's correlation over windows between the mean depth of a window's tokens and their mean loss in
  // the shallowest branch, with its 95 % confidence interval (Fisher's z). NaN when all windows are alike or there are fewer than four.
  double difficulty_correlation = 0, correlation_low = 0, correlation_high = 0;
};

// Computes the oracle of a nested model on the first tokens (2^20 at most) of the validation text; nullopt for other kinds of depth.
// mean_depth: the model's own, in layers. The result is a rough bound: the loss of a branch is measured while all tokens of the text take
// that branch, so a token attends to other keys than it would among mixed branches.
std::optional<Oracle> measure_branch_oracle(LanguageModel& model, TokenStream const& valid, double mean_depth,
                                            EvalSettings const& settings);

}  // namespace isobath
