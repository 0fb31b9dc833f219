#pragma once
// One run from start, or from its last checkpoint, to its end.

#include <string>

#include "config/config.h"

namespace isobath {

// Returns 0 when the run is finished, else the signal that stopped it after its state was saved. version: of the program, for the record.
int train(Config const& config, std::string const& version);

}  // namespace isobath
