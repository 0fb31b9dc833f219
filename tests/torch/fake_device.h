#pragma once
// A device that is none: its tensors lie in host memory and its operators run on the CPU, but it insists on what a GPU insists on. Every
// operator must get its tensors from this device (numbers excepted), and every value that the host reads is counted. What runs here with no
// complaint asks for nothing that would make a GPU wait; what LibTorch's CUDA operators do inside is beyond it. Copies that were asked for
// without waiting are done late.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

namespace isobath::test {

at::Device fake_device();

// What made the host and the device meet since the last call: values that the host read, by operator, and copies from the host.
struct Meetings {
  std::map<std::string, int64_t> reads;
  int64_t copies_from_host = 0;
};
Meetings take_meetings();
// The operators that ran on it, with their number, since the last call.
std::map<std::string, int64_t> take_operators();

}  // namespace isobath::test
