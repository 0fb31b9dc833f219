#pragma once
// The interface between the program and its CUDA plug-in. No CUDA headers: the program is built without them.

#include <cstdint>

#include "nn/backend/backend.h"

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace isobath {

struct CudaDevice {
  char name[256] = {};
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  int64_t memory_bytes = 0;
  int driver_version = 0, runtime_version = 0;  // as CUDA numbers them: 13000 is 13.0
};

struct CudaPlugin {
  int version = 0;  // cuda_plugin_version of its build
  Backend const* backend = nullptr;
  CudaDevice (*device)(int index) = nullptr;  // throws c10::Error when CUDA refuses
  // Collective operations between GPUs (NCCL); the caller owns a reference to the result. nullptr: built without NCCL.
  c10d::Backend* (*open_nccl)(c10d::Store* store, int rank, int size) = nullptr;
};

// Raised with every change of this file or of backend.h: a plug-in of another build is refused.
constexpr int cuda_plugin_version = 3;
constexpr char const* cuda_plugin_file = "libisobath_cuda.so";
constexpr char const* cuda_plugin_symbol = "isobath_cuda_plugin";  // CudaPlugin const* (), extern "C"

}  // namespace isobath
