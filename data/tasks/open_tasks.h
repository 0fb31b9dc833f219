#pragma once
// The tasks that a configuration names.

#include <vector>

#include "config/config.h"
#include "config/contradiction.h"
#include "data/tasks/items.h"

namespace isobath {

struct OpenedTask {
  TaskFile file;
  TaskItems items;
};

// Those of eval.tasks with `most` items each (0: all). Throws Error(config) for faulty task files and Error(data) for faulty or missing
// rows.
std::vector<OpenedTask> open_tasks(EvalConfig const& eval, int64_t most);

// Checks the task files of eval.tasks and data.tasks, for load_config.
void check_task_files(Config const& config, std::vector<Contradiction>& found);

}  // namespace isobath
