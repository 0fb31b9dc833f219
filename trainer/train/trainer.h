#pragma once
// One run from start, or from its last checkpoint, to its end.

#include <optional>
#include <string>

#include "config/config.h"
#include "trainer/parallel/ranks.h"

namespace isobath {

// With several ranks each calls it with the same configuration; ranks are opened here. Returns 0 when the run is finished, else the number
// of the signal that stopped it; its state is saved then. version: the program's, written to records.
// Throws Error(allocation) when the planned memory exceeds what is free, before any of it is allocated, or when an allocation fails later.
int train(Config const& config, std::string const& version, Ranks& ranks = one_process());

struct EarlierRun;
class RunFolder;
struct TrainerParts;
// The training loop of train(). `earlier`: the checkpoint from which a run is resumed.
int training_loop(Config const& config, RunFolder const& run, TrainerParts& parts, std::optional<EarlierRun> const& earlier,
                  Ranks const& ranks);

}  // namespace isobath
