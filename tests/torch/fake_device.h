#pragma once
// A device that is none: its tensors lie in host memory and its operators run on the CPU, but it insists on what a GPU insists on. Every
// operator must get its tensors from this device (scalars excepted), and every value that the host reads is counted. What runs here with no
// complaint holds no operator with tensors in the wrong place and no hidden synchronisation; numbers equal the CPU's.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

namespace isobath::test {

at::Device fake_device();

// How often the host read from the device, by operator, since the last call.
std::map<std::string, int64_t> take_host_reads();
// The operators that ran on it, with their number, since the last call.
std::map<std::string, int64_t> take_operators();

}  // namespace isobath::test
