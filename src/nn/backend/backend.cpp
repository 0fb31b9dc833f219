#include "nn/backend/backend.h"

#include <cstdlib>
#include <string_view>

#include "nn/backend/plugin.h"

namespace isobath {

namespace {

CudaPlugin const* loaded_plugin = nullptr;

}  // namespace

void set_cuda_plugin(CudaPlugin const* plugin) { loaded_plugin = plugin; }

CudaPlugin const* cuda_plugin() { return loaded_plugin; }

Backend const& backend_for(at::Tensor const& x) {
  bool const is_float = x.scalar_type() == at::kFloat;
  if (is_float && x.is_cpu()) return cpu_backend();
  static char const* const wish = std::getenv("ISOBATH_CUDA_KERNELS");
  static bool const off = wish && std::string_view(wish) == "off";
  bool const has_kernels = loaded_plugin && !off && x.is_cuda() && (is_float || x.scalar_type() == at::kBFloat16);
  return has_kernels ? *loaded_plugin->backend : aten_backend();
}

}  // namespace isobath
