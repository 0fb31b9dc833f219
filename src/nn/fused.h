#pragma once
// Which tensors have fast kernels of their own; everything else takes the composition of ATen operators.

#include <ATen/core/Tensor.h>

namespace isobath {

inline bool is_fused(at::Tensor const& x) { return x.device().is_cpu() && x.scalar_type() == at::kFloat; }

}  // namespace isobath
