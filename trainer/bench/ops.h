#pragma once
// The row kernels of a device (backend.h), one by one: are they right, and how fast.

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "config/config.h"

namespace isobath {

struct OpResult {
  std::string name;
  // Largest difference from the same in double by ATen operators, as a share of the largest value; of the kernel and of ATen's operators in
  // the kernel's own type.
  double difference = 0, aten_difference = 0;
  double allowed = 0;
  double seconds = 0, aten_seconds = 0;  // medians of a call
  bool ok() const { return difference <= allowed; }
};

// The largest difference of two lists of tensors as a share of the second's largest value; NaN when either holds one.
double largest_difference(std::vector<at::Tensor> const& a, std::vector<at::Tensor> const& b);

// Attention and every function of the table that `config` computes with (device, precision), on random tensors of its model's shapes and
// one micro-batch of rows.
std::vector<OpResult> bench_ops(Config const& config, int64_t vocab_size, int repeats);

}  // namespace isobath
