#pragma once
// One run from start, or from its last checkpoint, to its end.

#include <string>

#include "config/config.h"
#include "trainer/parallel/ranks.h"

namespace isobath {

// With several ranks each calls it with the same configuration; ranks are opened here. Returns 0 when the run is finished, else the number
// of the signal that stopped it; its state is saved then. version: the program's, written to records.
int train(Config const& config, std::string const& version, Ranks& ranks = one_process());

}  // namespace isobath
