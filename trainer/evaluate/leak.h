#pragma once
// How much of the future a model uses: the only way for it to the past is top-k's choice.

#include "data/shards/shards.h"
#include "trainer/evaluate/evaluate.h"

namespace isobath {

struct Leak {
  int64_t tokens = 0;          // of first halves that were looked at
  double changed_choices = 0;  // share of them, over routed layers, that ran once and did not the other time
  double loss_change = 0;      // mean |difference| of their losses, nats per token
};

// Replaces the second half of every validation window but the last by another window's and compares what the model does in the first half
// under `routing`. With isolated documents only those that end before the change are looked at, for the one in the middle does change. At
// least two windows; throws Error(data) when there are not that many.
Leak measure_leak(LanguageModel& model, TokenStream const& valid, Routing routing, EvalSettings const& settings);

}  // namespace isobath
