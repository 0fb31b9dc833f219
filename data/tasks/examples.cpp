#include "data/tasks/examples.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/error.h"
#include "core/random.h"

namespace isobath {
namespace {

uint64_t hash_of_example(TaskOption const& example) { return make_key({hash_text(example.context), hash_text(example.continuation)}); }

TaskOption const& right_option(TaskItem const& item) {
  return *std::find_if(item.options.begin(), item.options.end(), [&](TaskOption const& option) { return option.answer == item.answer; });
}

// How often an example is there, by its hash where the weight is no whole number.
int64_t copies_of(TaskOption const& example, double weight) {
  double const whole = std::floor(weight), drawn = random_uniform(hash_text("task weight"), hash_of_example(example));
  return static_cast<int64_t>(whole) + (drawn < weight - whole);
}

std::vector<TaskOption> by_hash(std::vector<TaskOption> examples) {
  std::vector<std::pair<uint64_t, size_t>> order;
  for (TaskOption const& example : examples) order.emplace_back(hash_of_example(example), order.size());
  std::sort(order.begin(), order.end());
  std::vector<TaskOption> sorted;
  for (auto const& [hash, index] : order) sorted.push_back(std::move(examples[index]));
  return sorted;
}

}  // namespace

std::vector<TaskFile> load_training_tasks(DataConfig const& data) {
  std::vector<fs::path> const files = find_task_files(data.tasks);
  if (!data.task_weights.empty() && data.task_weights.size() != files.size())
    throw Error(ExitCode::config, "data.task_weights has " + std::to_string(data.task_weights.size()) + " numbers for " +
                                      std::to_string(files.size()) + " tasks: one a task, or none");
  std::vector<TaskFile> tasks;
  for (fs::path const& file : files) {
    tasks.push_back(load_task(file));
    if (tasks.back().train.empty())
      throw Error(ExitCode::config, file.string() + " has no `train`, rows to train on, and can only be scored");
  }
  return tasks;
}

TaskExamples read_examples(Config const& config) {
  DataConfig const& data = config.data;
  fs::path const folder = expand_user(config.eval.tasks_folder);
  std::vector<TaskFile> const tasks = load_training_tasks(data);
  TaskExamples examples;
  examples.tasks = tasks.size();
  uint64_t train_key = 0, valid_key = 0;
  for (size_t i = 0; i < tasks.size(); ++i) {
    TaskFile const& task = tasks[i];
    double const weight = data.task_weights.empty() ? 1 : data.task_weights[i];
    TaskItems const train = read_training_items(task, folder), valid = read_task_items(task, folder);
    for (TaskItem const& item : train.items)
      for (int64_t copies = copies_of(right_option(item), weight); copies > 0; --copies) examples.train.push_back(right_option(item));
    for (TaskItem const& item : valid.items) examples.valid.push_back(right_option(item));
    train_key = make_key({train_key, hash_text(train.key), std::bit_cast<uint64_t>(weight)});
    valid_key = make_key({valid_key, hash_text(valid.key)});
  }
  if (examples.train.empty()) throw Error(ExitCode::config, "data.task_weights are so small that no example is left to train on");
  examples.train = by_hash(std::move(examples.train));
  examples.valid = by_hash(std::move(examples.valid));
  examples.train_key = hex(train_key);
  examples.valid_key = hex(valid_key);
  return examples;
}

}  // namespace isobath
