#pragma once
// One run from start, or from its last checkpoint, to its end.

#include <optional>
#include <string>

#include "config/config.h"
#include "trainer/parallel/ranks.h"

namespace isobath {

// With several ranks each calls it with the same configuration; ranks are opened here. Returns 0 when the run is finished, else the number
// of the signal that stopped it; its state is saved then. version: the program's, written to records.
// Throws Error(allocation) when memory is not there for it, before it takes any, or is refused later.
int train(Config const& config, std::string const& version, Ranks& ranks = one_process());

struct EarlierRun;
class RunFolder;
struct TrainerParts;
// The steps of train(), with all that they need at hand: by `parts`, and by `earlier` where the run goes on.
int training_loop(Config const& config, RunFolder const& run, TrainerParts& parts, std::optional<EarlierRun> const& earlier,
                  Ranks const& ranks);

}  // namespace isobath
