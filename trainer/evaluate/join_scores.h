#pragma once
// The scores of task items that several ranks have divided among them.

#include "model/across_ranks.h"
#include "trainer/tasks/scores.h"

namespace isobath {

// Item i was scored by rank i % ranks.size; `own` are this rank's, in order. Every rank has to call it, and gets the scores of all `items`.
TaskScores join_scores(TaskScores const& own, int64_t items, AcrossRanks const& ranks);

}  // namespace isobath
