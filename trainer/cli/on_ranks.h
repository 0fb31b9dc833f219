#pragma once
// Commands that several processes (ranks) may do together.

#include <functional>
#include <string>
#include <vector>

#include "trainer/cli/commands.h"
#include "trainer/parallel/rank_watch.h"
#include "trainer/parallel/ranks.h"

namespace isobath {

// Meets the other ranks, when a launcher has started this process as one of several, and calls `work`. An error of this rank is told to the
// others, who then end with exit code 8; what the ranks have in common is printed once.
int on_ranks(std::function<int(Ranks&, RankWatch&)> const& work);

// The command line of one rank of `isobath train TARGET`.
std::vector<std::string> rank_command(Target const& target);

}  // namespace isobath
