#pragma once
// A fake device: its tensors lie in host memory and its operators run on the CPU, but it has the rules of a GPU. An operator fails unless
// all its tensors are on this device (numbers excepted), and every value that the host reads is counted. Code that passes here makes a GPU
// wait only where LibTorch's own CUDA operators do. Copies that were asked for without waiting are done late.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

namespace isobath::test {

at::Device fake_device();

// How often the host and the device had to meet since the last call: values that the host read, by operator, and copies from the host.
struct Meetings {
  std::map<std::string, int64_t> reads;
  int64_t copies_from_host = 0;
};
Meetings take_meetings();
// The operators that ran on the device since the last call, with their counts.
std::map<std::string, int64_t> take_operators();

}  // namespace isobath::test
