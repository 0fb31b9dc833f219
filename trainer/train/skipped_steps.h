#pragma once
// Steps that were skipped because gradients were not finite.

#include <optional>
#include <string>

#include "trainer/metrics/readings.h"
#include "trainer/run/run_folder.h"
#include "trainer/run/state.h"

namespace isobath {

// What a run dies of that does not recover from them; nullopt: it goes on.
std::optional<std::string> why_diverged(WindowReading const& reading, TrainState const& state, RunFolder const& run);
void warn_of_skipped_steps(WindowReading const& reading, TrainState const& state);

}  // namespace isobath
