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

// The task files that data.tasks names. Throws Error(config) for a faulty one, one without rows to train on, and another number of weights
// than of tasks.
std::vector<TaskFile> load_training_tasks(DataConfig const& data);

// Reads the task files that data.tasks names and their rows in eval.tasks_folder. The examples are in the order of hashes of their
// contents. Throws as load_training_tasks and read_training_items do.
TaskExamples read_examples(Config const& config);

}  // namespace isobath
