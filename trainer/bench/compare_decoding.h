#pragma once
// How fast the arms of a comparison write, behind their training.

#include <functional>
#include <vector>

#include "trainer/compare/experiment.h"

namespace isobath {

// Decodes validation text with the first finished run of every arm, all arms interleaved, alone and sixteen at a time, and leaves
// decode.json in those run folders, which the report reads. What was measured since the runs ended is kept. An arm that cannot be decoded
// is left out with a warning.
void measure_decoding(std::vector<ExperimentRun> const& runs, std::function<PreparedData const&(Config const&)> const& text_of);

// Removes results of runs that were trained on since: until decoding is measured again, a report shows none.
void discard_outdated_decoding(std::vector<ExperimentRun> const& runs);

}  // namespace isobath
