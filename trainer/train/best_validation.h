#pragma once
// Which validation of a run is the best so far (checkpoint.best), and whether a run ends because none is better (train.patience).

#include <vector>

#include "config/config.h"
#include "trainer/evaluate/task_evaluation.h"
#include "trainer/metrics/readings.h"
#include "trainer/run/state.h"

namespace isobath {

// ValidationReading::accuracy: the mean of the tasks' main metrics under causal routing, where that was scored. Of a task whose main metric
// is bits_per_byte: its acc. NaN without tasks.
double mean_accuracy(std::vector<ScoredTask> const& tasks);

// Takes the validation of the state's step into account. Throws Error(other) where `best` is an accuracy and there is none.
void note_validation(TrainState& state, ValidationReading const& reading, BestBy best);
// The best so far is not comparable with what follows.
void forget_best(TrainState& state);
bool out_of_patience(TrainState const& state, TrainConfig const& train);

}  // namespace isobath
