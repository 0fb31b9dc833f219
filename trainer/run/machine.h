#pragma once
// The machine of a run: threads, vector instructions, memory, peak speed.

#include <ATen/core/Tensor.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "config/config.h"
#include "model/language_model.h"

#include "trainer/run/state.h"

namespace isobath {

// Sets the number of threads of LibTorch; 0: all the cores that this process may use (core/limits.h), divided by the processes that share
// them. environment_json says which rule decided. Call it before any other work.
void set_threads(int64_t threads, int64_t sharing_cores = 1);
int64_t threads_of(int64_t threads, int64_t sharing_cores);  // how many that are
// Has LibTorch ask the system for huge pages for large tensors. Decoding reads every weight for every token, and with small pages spends a
// tenth of its time on finding them. Call before the first tensor is made; THP_MEM_ALLOC_ENABLE=0 in the environment prevents it. Linux.
void use_huge_pages();
// From here on freed memory stays with the process: every step allocates the same tensors, and memory given back to the system would be
// fetched and zeroed again, page by page. Call after the text is prepared. glibc only.
void keep_freed_memory();
// Opens config.device, moves the model there and sets its precision. Warns about bf16 on a CPU that is slow at it. Call it before an
// optimizer or anything else holds the parameters. Throws Error(config) when the device is not available.
at::Device place_model(LanguageModel& model, Config const& config);
Machine this_machine(std::string const& version, at::Device device);
// The build of the program, as one text to compare: "1d57ecd, GNU 13.3.0, LibTorch 2.11.0".
std::string build_id();
nlohmann::ordered_json environment_json(Machine const& machine);
int64_t peak_memory_bytes(at::Device device);  // CPU: of this process; GPU: of its tensors there
int64_t resident_memory_bytes();               // of this process, now; 0 where the system does not say

// The peak FLOP/s that the MFU (model FLOPs utilisation) is a share of.
struct PeakFlops {
  double per_s = 0;
  std::string source;
};
// For bf16 on a known GPU, the vendor's figure; otherwise the speed of the fastest matrix product in that precision, measured for a quarter
// of a second at the current thread count.
PeakFlops peak_flops(at::Device device, Precision precision, int64_t ranks = 1);  // of so many such devices
// Corrects `peak` when work ran faster, at `achieved_per_s`. The machine was then busy when the peak was measured, so it is measured again;
// the result is at least `achieved_per_s`.
PeakFlops corrected_peak(PeakFlops const& peak, double achieved_per_s, at::Device device, Precision precision, int64_t ranks = 1);
// The same of a run, which says so in its log.
void correct_peak(PeakFlops& peak, double achieved_per_s, at::Device device, Precision precision, int64_t ranks);

}  // namespace isobath
