#pragma once
// The machine a run has: threads, instructions, memory, speed.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "trainer/state.h"

namespace isobath {

// 0: all the cores this process may use. Call before any work.
void set_threads(int64_t threads);
Machine this_machine(std::string const& version);
nlohmann::ordered_json environment_json(Machine const& machine);
int64_t peak_memory_bytes();  // of this process

// FLOP/s of an fp32 matrix product at the current thread count: what the MFU is a share of. Takes some tens of milliseconds.
double measure_peak_flops();

}  // namespace isobath
