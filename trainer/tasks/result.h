#pragma once
// From scores to results: which answer a model gives, accuracies and their intervals.

#include <map>
#include <string>
#include <vector>

#include "data/tasks/items.h"
#include "trainer/metrics/readings.h"
#include "trainer/tasks/scores.h"

namespace isobath {

// Scores of an item's answers, by which the highest is given. sum: log-probabilities as they are; characters, bytes: divided by the length
// of the option. Of a label with several words, the probabilities are added.
enum class Normalisation { sum, characters, bytes };
std::vector<double> answer_scores(TaskItem const& item, ItemScore const& score, Normalisation normalisation);

struct Answer {
  int64_t given = 0;   // the first with the highest score; of `cloze`: 0 where the model goes on with the text, else 1
  bool right = false;  // the right answer's score is higher than all others
  bool tied = false;   // it is the highest, but another has the same
};
Answer answer_of(TaskItem const& item, ItemScore const& score, Normalisation normalisation);

double bits_per_byte_of_right(TaskItem const& item, ItemScore const& score);

struct TaskResult {
  TaskReading reading;
  std::string main_metric;                                     // the task's first
  std::vector<Answer> answers;                                 // by the normalisation of the main metric
  std::map<std::string, std::pair<int64_t, Estimate>> groups;  // items, and accuracy by the main metric
  Estimate const& main() const;
};

// Metrics of the task file, at `items` scored as `scores`.
TaskResult task_result(TaskFile const& task, TaskItems const& items, TaskScores const& scores);

}  // namespace isobath
