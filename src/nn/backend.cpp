#include "nn/backend.h"

#include "cuda/plugin.h"

namespace isobath {

namespace {

CudaPlugin const* loaded_plugin = nullptr;

}  // namespace

void set_cuda_plugin(CudaPlugin const* plugin) { loaded_plugin = plugin; }

CudaPlugin const* cuda_plugin() { return loaded_plugin; }

Backend const& backend_for(at::Tensor const& x) {
  bool const is_float = x.scalar_type() == at::kFloat;
  if (is_float && x.is_cpu()) return cpu_backend();
  bool const has_kernels = loaded_plugin && x.is_cuda() && (is_float || x.scalar_type() == at::kBFloat16);
  return has_kernels ? *loaded_plugin->backend : aten_backend();
}

}  // namespace isobath
