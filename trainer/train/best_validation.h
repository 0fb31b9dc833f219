#pragma once
// Which validation of a run is the best so far (checkpoint.best), and whether a run ends because none is better (train.patience).

#include "config/config.h"
#include "trainer/metrics/readings.h"
#include "trainer/run/state.h"

namespace isobath {

// Takes the validation of the state's step into account.
void note_validation(TrainState& state, ValidationReading const& reading, BestBy best);
// The best so far is not comparable with what follows.
void forget_best(TrainState& state);
bool out_of_patience(TrainState const& state, TrainConfig const& train);

}  // namespace isobath
