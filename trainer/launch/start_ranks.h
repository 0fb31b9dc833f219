#pragma once
// Starts the ranks of a run on this machine, as `isobath train CONFIG --ranks N` does.

#include <cstdint>
#include <string>
#include <vector>

namespace isobath {

// Runs `command` (a command line of this program) as `count` processes that find each other by the same environment variables that
// torchrun sets; waits until all have ended and passes stop signals on to them. Returns the exit code: 0 when all ended with 0; 143 or 130
// when a signal stopped them; the code of a rank that failed by itself; otherwise 8, for a rank that died.
int start_ranks(int64_t count, std::vector<std::string> const& command);

// The exit code of a program whose ranks ended with these.
int common_exit_code(std::vector<int> const& codes);

}  // namespace isobath
