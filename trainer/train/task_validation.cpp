#include "trainer/train/task_validation.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "trainer/run/records.h"
#include "trainer/tasks/answers_file.h"

namespace isobath {
namespace {

// "arc-easy 31.2 % (29.4 to 33.1)"
std::string short_result(ScoredTask const& task) {
  Estimate const& main = task.result.main();
  std::string const name = task.task->file.name + (task.routing == "topk" ? " (top-k)" : "");
  return task.result.main_metric == "bits_per_byte"
             ? fmt::format("{} {:.3f} bits per byte", name, main.value)
             : fmt::format("{} {:.1f} % ({:.1f} to {:.1f})", name, 100 * main.value, 100 * main.low, 100 * main.high);
}

}  // namespace

TaskValidation::TaskValidation(Config const& config) : config_(config), tasks_(open_tasks(config.eval, config.eval.task_items)) {}

std::optional<std::vector<ScoredTask>> TaskValidation::score(LanguageModel& model, Tokenizer const& tokenizer, bool final,
                                                             Ranks const& ranks) {
  if (final && final_tasks_.empty()) final_tasks_ = open_tasks(config_.eval, config_.eval.final_task_items);
  try {
    return evaluate_tasks(model, tokenizer, final ? final_tasks_ : tasks_, config_.eval.routing, static_cast<uint64_t>(config_.seed),
                          ranks.across());
  } catch (Stopped const&) {
    return std::nullopt;
  }
}

void TaskValidation::write(std::vector<ScoredTask> const& scored, TrainState const& state, bool final, RecordFile& metrics,
                           fs::path const& run_folder) const {
  std::string line;
  AnswersByTask answers;
  for (ScoredTask const& task : scored) {
    metrics.write(task_record(state, task, final));
    line += (line.empty() ? "" : " | ") + short_result(task);
    TaskAnswers& of_task = answers[{task.task->file.name, task.routing}];
    of_task.items_key = task.task->items.key;
    of_task.metric = task.result.main_metric;
    for (Answer const& answer : task.result.answers) of_task.right.push_back(answer.right);
    if (!task.task->file.group.empty())
      for (TaskItem const& item : task.task->items.items) of_task.groups.push_back(item.group);
  }
  if (!scored.empty()) log_info("tasks at step " + std::to_string(state.step) + ": " + line);
  if (final && !scored.empty()) write_task_answers(run_folder, answers);
}

}  // namespace isobath
