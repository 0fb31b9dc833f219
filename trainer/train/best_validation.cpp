#include "trainer/train/best_validation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace isobath {

double mean_accuracy(std::vector<ScoredTask> const& tasks) {
  bool const has_causal = std::any_of(tasks.begin(), tasks.end(), [](ScoredTask const& task) { return task.routing == "causal"; });
  double sum = 0, count = 0;
  for (ScoredTask const& task : tasks) {
    if (has_causal && task.routing != "causal") continue;
    sum += (task.result.main_metric == "bits_per_byte" ? task.result.reading.acc : task.result.main()).value;
    ++count;
  }
  return sum / count;
}

void note_validation(TrainState& state, ValidationReading const& reading, BestBy best) {
  if (best == BestBy::accuracy && std::isnan(reading.accuracy))
    throw Error(ExitCode::other, "checkpoint.best: accuracy, but no task was scored at this validation");
  double const value = best == BestBy::loss ? reading.evaluation.causal_or_topk().loss : 1 - reading.accuracy;
  ++state.validations_without_better;
  if (!(value < state.best_value)) return;
  state.best_value = value;
  state.best_step = state.step;
  state.validations_without_better = 0;
}

void forget_best(TrainState& state) {
  state.best_value = std::numeric_limits<double>::infinity();
  state.validations_without_better = 0;
}

bool out_of_patience(TrainState const& state, TrainConfig const& train) {
  return train.patience > 0 && state.validations_without_better >= train.patience;
}

}  // namespace isobath
