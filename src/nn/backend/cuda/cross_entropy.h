#pragma once
// Losses of rows of logits, and their gradients in place.

#include "nn/backend/cuda/rows.h"

namespace isobath::cuda {

template <typename T, int N>
struct CrossEntropy {
  T* logits;
  int64_t const* targets;
  float* losses;
  int vocab;
  bool gradients;

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t row) const {
    T* const values = logits + row * vocab;
    int64_t const target = targets[row];
    if (target < 0) {
      if (group.rank() == 0) losses[row] = 0;
      if (gradients) each(group, vocab / N, [&](int i) { write<N>(values, i, {}); });
      return;
    }
    float const at_target = static_cast<float>(values[target]);  // read before any member writes: the reductions below are barriers
    // Each member sums exp(v - largest) with the largest value it has met, which starts finite because -inf - -inf is NaN.
    float largest = -FLT_MAX, total = 0;
    each(group, vocab / N, [&](int i) {
      auto const v = read<N>(values, i);
      float const before = largest;
      for (int j = 0; j < N; ++j) largest = v.at[j] > largest ? v.at[j] : largest;
      total *= std::exp(before - largest);
      for (int j = 0; j < N; ++j) total += std::exp(v.at[j] - largest);
    });
    float const shift = group.max(largest);
    total = group.sum(total * std::exp(largest - shift));
    if (group.rank() == 0) losses[row] = std::log(total) + (shift - at_target);
    if (!gradients) return;
    float const scale = 1.0f / total;
    each(group, vocab / N, [&](int i) {
      auto v = read<N>(values, i);
      for (int j = 0; j < N; ++j) v.at[j] = std::exp(v.at[j] - shift) * scale - (i * N + j == target ? 1.0f : 0.0f);
      write<N>(values, i, v);
    });
  }
};

}  // namespace isobath::cuda
