#pragma once
// The questions of a task, as text: contexts, and continuations to score.

#include <cstdint>
#include <string>
#include <vector>

#include "data/tasks/task_file.h"

namespace isobath {

// One continuation that is scored after its context.
struct TaskOption {
  std::string context, continuation;
  std::string choice;  // the option alone: lengths for acc_norm and acc_bytes are its
  int64_t answer = 0;  // the answer that it stands for
};

struct TaskItem {
  int64_t line = 0;  // in the source
  std::string group;
  std::vector<TaskOption> options;  // of `cloze`: one
  int64_t answer = 0;               // the right one
  int64_t answers = 0;              // so many there are
  bool equal_options = false;       // two options with different answers are the same text
};

struct TaskItems {
  std::vector<TaskItem> items;
  std::vector<std::string> labels;  // names of the answers, of `label`; else empty
  std::string key;                  // 16 hex digits: a hash of all contexts, continuations and answers
};

// Reads the rows that are scored. folder: eval.tasks_folder. most: at most this many items, chosen by a hash of their text, so that every
// model gets the same ones; 0: all. Throws Error(data) naming file, line and field of a row that is no question, and a missing file with
// the command that makes it.
TaskItems read_task_items(TaskFile const& task, fs::path const& folder, int64_t most = 0);
// The rows for training: of `train`, without those that `split_share` keeps for scoring; no solved examples before them.
TaskItems read_training_items(TaskFile const& task, fs::path const& folder);

}  // namespace isobath
