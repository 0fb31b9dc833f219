#pragma once
// What a fine-tuning run learns: the questions of tasks, each with its right answer.

#include <string>
#include <vector>

#include "config/config.h"
#include "data/tasks/items.h"

namespace isobath {

struct TaskExamples {
  std::vector<TaskOption> train;  // each as often as data.task_weights says
  std::vector<TaskOption> valid;  // the tasks' scored rows
  size_t tasks = 0;
  std::string train_key, valid_key;  // 16 hex digits: hashes of what they are
};

// Reads the task files that data.tasks names and their rows in eval.tasks_folder. The examples are in the order of hashes of their
// contents. Throws Error(config) for a task without rows to train on and for another number of weights than of tasks.
TaskExamples read_examples(Config const& config);

}  // namespace isobath
