#pragma once
// The machine a run has: threads, instructions, memory, speed.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "trainer/state.h"

namespace isobath {

// 0: all the cores this process may use. Call before any work.
void set_threads(int64_t threads);
// From here on freed memory stays with the process: every step allocates the same tensors, and memory given back to the system would be
// fetched and zeroed again, page by page. Call after the text is prepared. glibc only.
void keep_freed_memory();
Machine this_machine(std::string const& version);
nlohmann::ordered_json environment_json(Machine const& machine);
int64_t peak_memory_bytes();  // of this process

// FLOP/s of an fp32 matrix product at the current thread count: what the MFU is a share of. Takes some tens of milliseconds.
double measure_peak_flops();

}  // namespace isobath
