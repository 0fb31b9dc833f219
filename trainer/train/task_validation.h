#pragma once
// The tasks of a training run (eval.tasks): scored after each validation and at the end.

#include <optional>
#include <string>
#include <vector>

#include "trainer/evaluate/task_evaluation.h"
#include "trainer/parallel/ranks.h"
#include "trainer/run/record_file.h"
#include "trainer/run/state.h"

namespace isobath {

class TaskValidation {
 public:
  // Reads the rows of all tasks, so that what is wrong with them ends a run before it starts. config must outlive this.
  explicit TaskValidation(Config const& config);

  // final: eval.final_task_items of each task, otherwise eval.task_items. nullopt: the program was asked to stop.
  std::optional<std::vector<ScoredTask>> score(LanguageModel& model, Tokenizer const& tokenizer, bool final, Ranks const& ranks);
  // Writes one `task` record per scored task and one log line for all; at the end of a run (final) also task_answers.json.
  void write(std::vector<ScoredTask> const& scored, TrainState const& state, bool final, RecordFile& metrics,
             fs::path const& run_folder) const;

 private:
  Config const& config_;
  std::vector<OpenedTask> tasks_, final_tasks_;
};

}  // namespace isobath
