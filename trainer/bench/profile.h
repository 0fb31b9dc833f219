#pragma once
// Where the time of some work goes, by LibTorch's profiler.

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

namespace isobath {

struct ProfileEntry {
  std::string name;  // of a kernel (GPU) or an operator (CPU)
  std::string part;  // "routing" (routing_scope.h, forward and backward), "model" or "unknown"
  double seconds = 0;
  int64_t calls = 0;
};

struct Profile {
  double seconds = 0;                 // GPU: all kernels; CPU: all operators' own time
  double unknown_seconds = 0;         // part of `seconds`: kernels whose calling operator is unknown
  int64_t host_waits = 0;             // GPU: calls that made the host wait for the device, without the final wait
  double routing_seconds = 0;         // part of `seconds`: routing
  std::vector<ProfileEntry> entries;  // longest first
  double routing_share() const { return seconds > 0 ? routing_seconds / seconds : 0; }
};

// Runs `work` once. On a GPU times are those of its kernels; on the CPU an operator's own, without the operators that it calls.
Profile profile(at::Device device, std::function<void()> const& work);

}  // namespace isobath
