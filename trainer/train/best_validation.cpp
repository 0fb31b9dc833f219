#include "trainer/train/best_validation.h"

#include <limits>

namespace isobath {

void note_validation(TrainState& state, ValidationReading const& reading, BestBy best) {
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
