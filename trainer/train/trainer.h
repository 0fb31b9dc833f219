#pragma once
// One run from start, or from its last checkpoint, to its end.

#include <string>

#include "config/config.h"

namespace isobath {

// 0 when the run is finished, else the signal that stopped it (its state is saved by then). `version` of the program, for the record.
int train(Config const& config, std::string const& version);

// Sequences of one forward and backward: what the configuration says, or for `auto` the most that divide the batch and keep a
// micro-batch within 4Ki tokens, on a GPU within 64Ki.
int64_t micro_batch_sequences(Config const& config, bool gpu);

}  // namespace isobath
