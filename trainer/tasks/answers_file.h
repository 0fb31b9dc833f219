#pragma once
// task_answers.json of a run folder: which items of each task its final model answers rightly, for paired comparisons in reports.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/files.h"

namespace isobath {

struct TaskAnswers {
  std::string items_key;            // TaskItems::key: equal for the same items in the same order
  std::string metric;               // by which answers are right: the task's main one
  std::vector<bool> right;          // one an item
  std::vector<std::string> groups;  // of each item (TaskFile::group); empty where the task has none
};
using AnswersByTask = std::map<std::pair<std::string, std::string>, TaskAnswers>;  // by task and routing

void write_task_answers(fs::path const& run_folder, AnswersByTask const& answers);
// Empty where the run has no such file. Throws Error(data) for one that is damaged.
AnswersByTask read_task_answers(fs::path const& run_folder);

}  // namespace isobath
