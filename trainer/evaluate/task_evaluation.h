#pragma once
// Tasks with one model: scores, results and what is written of them.

#include <string>
#include <vector>

#include "data/tasks/open_tasks.h"
#include "trainer/evaluate/score_tasks.h"
#include "trainer/tasks/result.h"

namespace isobath {

struct ScoredTask {
  OpenedTask const* task = nullptr;
  std::string routing;  // "causal" or "topk"
  TaskScores scores;
  TaskResult result;
};

// Scores each task under every routing that `routing` names. A model whose two routings are the same is scored once, as causal. seed: of
// random routers. ranks: see score_items.
std::vector<ScoredTask> evaluate_tasks(LanguageModel& model, Tokenizer const& tokenizer, std::vector<OpenedTask> const& tasks,
                                       EvalRouting routing, uint64_t seed, AcrossRanks const& ranks = {});

}  // namespace isobath
