#pragma once
// Whether what a run needs of memory is there.

#include <exception>
#include <optional>
#include <string>

#include "config/config.h"
#include "model/ledger/memory.h"

namespace isobath {

// "about 25.3 GiB of memory (24.1 GiB weights and optimizer, 1.2 GiB activations of ...)", and the keys that make it less.
std::string describe_need(Config const& config, PlannedMemory const& need);
// Holds what each of `processes` on this machine needs against the memory that is free for one of them. Throws Error(allocation) where it
// is less; returns a warning where it leaves less than a fifth.
std::optional<std::string> check_memory(Config const& config, PlannedMemory const& need, int64_t processes = 1);

// LibTorch reports memory that it was refused as an ordinary exception. Returns in words what was refused and how much is free; nothing
// when `problem` is something else.
std::optional<std::string> refused_memory(std::exception const& problem);

}  // namespace isobath
