#pragma once
// The machine a run has: threads, instructions, memory, speed.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "trainer/state.h"

namespace isobath {

// Threads (0: all the cores this process may use) and, with glibc, an allocator that keeps what was freed. Call before any work.
void set_threads(int64_t threads);
Machine this_machine(std::string const& version);
nlohmann::ordered_json environment_json(Machine const& machine);
int64_t peak_memory_bytes();  // of this process

// FLOP/s of an fp32 matrix product at the current thread count: what the MFU is a share of. Takes some tens of milliseconds.
double measure_peak_flops();

}  // namespace isobath
