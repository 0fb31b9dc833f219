#pragma once
// The machine a run has: threads, instructions, memory, speed.

#include <ATen/core/Tensor.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "config/config.h"
#include "model/language_model.h"

#include "trainer/run/state.h"

namespace isobath {

// 0: all the cores this process may use. Call before any work.
void set_threads(int64_t threads);
// From here on freed memory stays with the process: every step allocates the same tensors, and memory given back to the system would be
// fetched and zeroed again, page by page. Call after the text is prepared. glibc only.
void keep_freed_memory();
// Opens config.device, moves the model there and sets its precision (bf16 on a CPU that is slow at it: a warning). Before an optimizer or
// anything else takes hold of the parameters. Throws Error(config) when the device cannot be had.
at::Device place_model(LanguageModel& model, Config const& config);
Machine this_machine(std::string const& version, at::Device device);
// The build of the program, as one text to compare: "1d57ecd, GNU 13.3.0, LibTorch 2.11.0".
std::string build_id();
nlohmann::ordered_json environment_json(Machine const& machine);
int64_t peak_memory_bytes(at::Device device);  // CPU: of this process; GPU: of its tensors there
int64_t resident_memory_bytes();               // of this process, now; 0 where the system does not say

// What the MFU is a share of.
struct PeakFlops {
  double per_s = 0;
  std::string source;
};
// bf16 on a GPU whose data sheet is known: its maker's figure; else what a matrix product in that precision reaches here, at the current
// thread count, the best of a quarter of a second.
PeakFlops peak_flops(at::Device device, Precision precision);
// The peak, once work was seen to run at `achieved_per_s`. Where that is more, the machine was busy when the peak was measured: it is
// measured anew, and is never less than what was achieved.
PeakFlops corrected_peak(PeakFlops const& peak, double achieved_per_s, at::Device device, Precision precision);

}  // namespace isobath
