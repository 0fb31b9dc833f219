#pragma once
// A task file: how rows of a data set become questions for a language model (docs/tasks.md).

#include <cstdint>
#include <string>
#include <vector>

#include "config/choice.h"
#include "core/files.h"

namespace isobath {

// choice: one right answer among several. label: one of a fixed set of classes. pair: the first of two texts is to be the likelier one.
// cloze: the model is to go on with exactly this text.
enum class TaskKind { choice, label, pair, cloze };
template <>
struct ChoiceNames<TaskKind> {
  static constexpr std::array names{"choice", "label", "pair", "cloze"};
};

struct TaskFile {
  std::string name;  // of the file, without .yaml
  std::string description;
  Choice<TaskKind> kind = TaskKind::choice;
  std::string source, train;  // in eval.tasks_folder
  std::string prompt, continuation = " {choice}";
  std::vector<std::string> choices;        // fields
  std::string answer;                      // a field
  std::vector<std::string> labels, words;  // of `label`: words[i] stands for labels[i]
  std::vector<std::string> metrics{"acc"};
  std::string group;  // a field; "": none
  int64_t few_shot = 0, few_shot_seed = 1;
  std::string split_by;  // a field; "": all rows of `source` are scored
  double split_share = 0;
};

// Throws ConfigError with all problems of the file and of those that it includes, each at its line.
TaskFile load_task(fs::path const& path);
// The task files that `eval.tasks` or `data.tasks` names: files, folders or globs. Throws Error(config) for one that is not there.
std::vector<fs::path> find_task_files(std::vector<std::string> const& names);

}  // namespace isobath
