#pragma once
// Measures how fast the trained arms of a comparison decode.

#include <functional>
#include <vector>

#include "trainer/compare/experiment.h"

namespace isobath {

// Decodes validation text with the first finished run of every arm and size at the largest budget, the arms interleaved, at batch sizes 1
// and 16. Writes decode.json, which the report reads, into those run folders. Does nothing when every result is newer than its run. An arm
// that cannot be decoded is left out with a warning.
void measure_decoding(std::vector<ExperimentRun> const& runs, std::function<PreparedData const&(Config const&)> const& text_of);

bool is_decoding_measured(std::vector<ExperimentRun> const& runs);

// Removes decoding results of runs that were trained further since, so that a report does not show outdated ones.
void discard_outdated_decoding(std::vector<ExperimentRun> const& runs);

}  // namespace isobath
