#pragma once
// Commands that several processes (ranks) may do together.

#include <functional>
#include <memory>

#include "trainer/cli/commands.h"
#include "trainer/parallel/rank_watch.h"
#include "trainer/parallel/ranks.h"

namespace isobath {

// Connects to the other ranks, when a launcher has started this process as one of several, and calls `work`. An error of this rank is
// reported to the others, which then end with exit code 8; an error that all ranks have is printed once, by rank 0.
int on_ranks(std::function<int(Ranks&, RankWatch&)> const& work);

// The same with an option --ranks N of `command`, which starts N processes of the same command line on this machine.
std::shared_ptr<int64_t> add_ranks_option(CLI::App& command);
// Starts the ranks and returns their common exit code where `count` is more than 1; otherwise calls `work` as on_ranks does.
int start_or_join_ranks(int64_t count, std::function<int(Ranks&, RankWatch&)> const& work);

// Opens the ranks for a command that takes the checkpoint `folder`: `config` gets this rank's device and its share of the cores. Throws
// Error(distributed) when programs or checkpoints differ. Nothing for one process alone.
void open_ranks(Ranks& ranks, RankWatch& watch, Config& config, fs::path const& folder);

}  // namespace isobath
