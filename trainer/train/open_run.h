#pragma once
// What the ranks of a run settle before it starts.

#include "config/config.h"
#include "trainer/parallel/ranks.h"
#include "trainer/run/run_folder.h"

namespace isobath {

// Logs who and where the ranks are. Throws Error(distributed) when the ranks differ in what has to be the same for their weights to stay
// the same. version: the program's.
void check_ranks(Ranks const& ranks, Config const& config, std::string const& version);

// Rank 0 makes and locks the run folder; the others find it. Throws as RunFolder does.
RunFolder open_run_folder(Config const& config, Ranks const& ranks);

}  // namespace isobath
