#pragma once
// Measures how much a model's results depend on later tokens. Only top-k makes them do so, because it compares a token with later ones.

#include "data/shards/shards.h"
#include "trainer/evaluate/evaluate.h"

namespace isobath {

struct FutureLeakage {
  int64_t tokens = 0;          // tokens of first halves that were compared
  double changed_choices = 0;  // share of (token, routed layer) pairs that ran in one pass but not in the other
  double loss_change = 0;      // mean absolute difference of the tokens' losses, nats per token
};

// Replaces the second half of every validation window but the last with that of another window, and compares what the model does in the
// first half under `routing`. With isolated documents it skips the document at the end of the first half, which may go on into the second.
// Throws Error(data) when there are fewer than two windows.
FutureLeakage measure_future_leakage(LanguageModel& model, TokenStream const& valid, Routing routing, EvalSettings const& settings);

}  // namespace isobath
