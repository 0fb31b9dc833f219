#pragma once
// Scores the continuations of tasks: how likely a model finds each.

#include <cstdint>
#include <vector>

#include "data/tasks/items.h"
#include "data/tokenizer/tokenizer.h"
#include "model/language_model.h"
#include "trainer/tasks/scores.h"

namespace isobath {

// Under causal routing each prompt is read once, and its options go on from a copy of its keys and values, all at once. Under top-k
// routing, which looks ahead, each option is read whole. On the CPU every core scores items of its own, one after another, so that a score
// depends on its item alone, to the last bit. seed: of random routers. Several ranks
// divide the items among them; each returns all scores. Throws Stopped when a signal asks the program to stop, and Error(config) for a
// model with a first_uncalibrated_layer().
TaskScores score_items(LanguageModel& model, Tokenizer const& tokenizer, std::vector<TaskItem> const& items, Routing routing, uint64_t seed,
                       AcrossRanks const& ranks = {});

}  // namespace isobath
