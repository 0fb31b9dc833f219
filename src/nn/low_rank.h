#pragma once
// Trained updates of low rank beside fixed matrices (LoRA, Hu et al. 2021, section 4.1).

#include <ATen/core/Tensor.h>

namespace isobath {

// Adds up (down x) to W x. Undefined tensors: no update.
struct LowRankUpdate {
  at::Tensor down_KI, up_OK;

  // That of the outputs [first, first + count) alone.
  LowRankUpdate of_outputs(int64_t first, int64_t count) const;
};

// x_RI weight_OI^T + x_RI (up down)^T
at::Tensor updated_linear(at::Tensor const& x_RI, at::Tensor const& weight_OI, LowRankUpdate const& update);

}  // namespace isobath
