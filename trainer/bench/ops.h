#pragma once
// Checks and times each row kernel of a device (backend.h).

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "config/config.h"

namespace isobath {

struct OpResult {
  std::string name;
  // Largest difference from ATen's operators in fp64, relative to the largest value: of the kernel, and of ATen's operators in the kernel's
  // own type.
  double difference = 0, aten_difference = 0;
  double allowed = 0;
  double seconds = 0, aten_seconds = 0;  // per call, median over the repeats
  bool ok() const { return difference <= allowed; }
};

// The largest difference between tensors of `a` and `b`, each relative to the largest absolute value of its tensor in `b`; NaN when either
// holds a NaN.
double largest_difference(std::vector<at::Tensor> const& a, std::vector<at::Tensor> const& b);

// Runs attention and every function of the backend that `config` selects (device, precision) on random tensors: shapes of its model, rows
// of one micro-batch.
std::vector<OpResult> bench_ops(Config const& config, int64_t vocab_size, int64_t repeats);

}  // namespace isobath
