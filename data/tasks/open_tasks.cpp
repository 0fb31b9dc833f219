#include "data/tasks/open_tasks.h"

#include "core/error.h"
#include "data/tasks/examples.h"

namespace isobath {

std::vector<OpenedTask> open_tasks(EvalConfig const& eval, int64_t most) {
  std::vector<OpenedTask> tasks;
  for (fs::path const& path : find_task_files(eval.tasks)) {
    TaskFile const file = load_task(path);
    tasks.push_back({file, read_task_items(file, expand_user(eval.tasks_folder), most)});
  }
  return tasks;
}

void check_task_files(Config const& config, std::vector<Contradiction>& found) {
  try {
    for (fs::path const& path : find_task_files(config.eval.tasks)) load_task(path);
  } catch (Error const& error) {
    found.push_back({{"eval.tasks"}, std::string("eval.tasks: ") + error.what()});
  }
  try {
    if (!config.data.tasks.empty()) load_training_tasks(config.data);
  } catch (Error const& error) {
    found.push_back({{"data.tasks"}, std::string("data.tasks: ") + error.what()});
  }
}

}  // namespace isobath
