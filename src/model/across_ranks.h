#pragma once
// What a model needs to know of the processes (ranks) that share the sequences of one batch.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace isobath {

struct AcrossRanks {
  int64_t rank = 0, size = 1;
  // The tensors of all ranks, joined along the first dimension in the order of the ranks, on every rank; they may differ in length there.
  // Every rank has to call it. Empty: one process alone.
  std::function<at::Tensor(at::Tensor const&)> joins = {};

  at::Tensor joined(at::Tensor const& x) const { return joins ? joins(x) : x; }
};

}  // namespace isobath
