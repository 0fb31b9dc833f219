#include "trainer/evaluate/task_evaluation.h"

namespace isobath {

std::vector<ScoredTask> evaluate_tasks(LanguageModel& model, Tokenizer const& tokenizer, std::vector<OpenedTask> const& tasks,
                                       EvalRouting routing, uint64_t seed, AcrossRanks const& ranks) {
  bool const two = model.plan().uses_noncausal_routing();
  std::vector<ScoredTask> scored;
  auto const score = [&](OpenedTask const& task, Routing by, char const* name) {
    TaskScores scores = score_items(model, tokenizer, task.items.items, by, seed, ranks);
    TaskResult result = task_result(task.file, task.items, scores);
    scored.push_back({&task, name, std::move(scores), std::move(result)});
  };
  for (OpenedTask const& task : tasks) {
    if (!two || routing != EvalRouting::topk) score(task, Routing::causal, "causal");
    if (two && routing != EvalRouting::causal) score(task, Routing::topk, "topk");
  }
  return scored;
}

}  // namespace isobath
