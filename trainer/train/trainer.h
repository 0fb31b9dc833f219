#pragma once
// One run from start, or from its last checkpoint, to its end.

#include <string>

#include "config/config.h"

namespace isobath {

// Returns 0 when the run is finished, else the number of the signal that stopped it; its state is saved then. version: the program's,
// written to records.
int train(Config const& config, std::string const& version);

}  // namespace isobath
