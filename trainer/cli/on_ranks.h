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
// Starts the ranks where `count` is more than 1; otherwise calls `work` as on_ranks does. Throws Error without a message where the ranks,
// or `work`, end with another exit code than 0.
void run_on_ranks(int64_t count, std::function<int(Ranks&, RankWatch&)> const& work);

// Opens the ranks for a command that takes the model at `path`: `config` gets this rank's device and its share of the cores. Throws
// Error(distributed) when programs or models differ. Nothing for one process alone.
void open_ranks(Ranks& ranks, RankWatch& watch, Config& config, fs::path const& path);

}  // namespace isobath
