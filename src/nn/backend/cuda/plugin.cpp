#include "nn/backend/plugin.h"

#include <c10/cuda/CUDAException.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>

namespace isobath::cuda {

extern Backend const backend;
#ifdef ISOBATH_NCCL
c10d::Backend* open_nccl(c10d::Store* store, int rank, int size);
#else
constexpr c10d::Backend* (*open_nccl)(c10d::Store*, int, int) = nullptr;
#endif

namespace {

CudaDevice device(int index) {
  cudaDeviceProp properties;
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  CudaDevice device;
  std::memcpy(device.name, properties.name, std::min(sizeof device.name, sizeof properties.name));
  device.major = properties.major;
  device.minor = properties.minor;
  device.multiprocessors = properties.multiProcessorCount;
  device.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  C10_CUDA_CHECK(cudaDriverGetVersion(&device.driver_version));
  C10_CUDA_CHECK(cudaRuntimeGetVersion(&device.runtime_version));
  return device;
}

}  // namespace
}  // namespace isobath::cuda

extern "C" __attribute__((visibility("default"))) isobath::CudaPlugin const* isobath_cuda_plugin() {
  static isobath::CudaPlugin const plugin{.version = isobath::cuda_plugin_version,
                                          .backend = &isobath::cuda::backend,
                                          .device = isobath::cuda::device,
                                          .open_nccl = isobath::cuda::open_nccl};
  return &plugin;
}
