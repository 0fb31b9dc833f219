#pragma once
// The device that a model computes on: the CPU, or a GPU, whose libraries are loaded on request.

#include <ATen/core/Tensor.h>

#include <string>

namespace isobath {

// "cpu"; "cuda" (the first GPU), "cuda:1"; "auto": the first GPU, or the CPU where there is none (a warning when there is one that cannot
// be used); other forms are refused by the configuration. Asking for CUDA loads LibTorch's CUDA backend and Isobath's plug-in into the
// process. Throws Error(config) naming all that is missing: driver, GPU, backend, plug-in.
// Call it before anything else of LibTorch: LibTorch looks for CUDA once and remembers when there was none.
at::Device open_device(std::string const& name);

int visible_gpus();                          // to this process; 0 where CUDA cannot be had. Loads CUDA as open_device does.
std::string device_name(at::Device device);  // "cpu", "cuda:0 NVIDIA H200"
// Peak FLOP/s of dense bfloat16 matrix products with fp32 sums, from the maker's data sheets; 0: not known.
double vendor_bfloat16_flops(std::string const& gpu_name);

void synchronize(at::Device device);  // waits until the device has finished all queued work
// Peak number of bytes held by tensors since the program's start or the last reset; 0 on the CPU, which has no such counter.
int64_t peak_tensor_bytes(at::Device device);
void reset_peak_tensor_bytes(at::Device device);

// Whether the CPU multiplies bfloat16 matrices faster than float ones.
bool cpu_has_fast_bfloat16();

}  // namespace isobath
