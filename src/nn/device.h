#pragma once
// The device that a model computes on: the CPU, or a GPU whose parts are loaded when somebody asks for it.

#include <ATen/core/Tensor.h>

#include <string>

namespace isobath {

// "cpu"; "cuda" (the first GPU), "cuda:1"; "auto": the first GPU, or the CPU where there is none (a warning when there is one that cannot
// be used); other forms are refused by the configuration. Asking for CUDA loads LibTorch's CUDA backend and Isobath's plug-in into the
// process. Throws Error(config) naming all that is missing: driver, GPU, backend, plug-in.
// To be called before anything else of LibTorch: what has once asked it for CUDA in vain keeps the answer.
at::Device open_device(std::string const& name);

std::string device_name(at::Device device);  // "cpu", "cuda:0 NVIDIA H200"
// Dense bfloat16 matrix products with fp32 sums, FLOP/s, by the maker's figures; 0: not known.
double vendor_bfloat16_flops(std::string const& gpu_name);

void synchronize(at::Device device);  // waits for all that was asked of it
// Most bytes that tensors held at a time since the program's start or the last reset; 0 on the CPU, which has no such counter.
int64_t peak_tensor_bytes(at::Device device);
void reset_peak_tensor_bytes(at::Device device);

// Whether the CPU multiplies bfloat16 matrices faster than float ones.
bool cpu_has_fast_bfloat16();

}  // namespace isobath
