#pragma once
// Adds selected rows to the rows they came from, forward and backward.

#include "nn/backend/cuda/rows.h"

namespace isobath::cuda {

// Adds to y in place.
template <typename T, int N>
struct ScatterAddRows {
  T* y;
  int64_t const* index;
  T const* delta;
  float const* weight;  // null: 1
  int width;

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t row) const {
    T* out = y + index[row] * width;
    float const w = weight ? weight[row] : 1.0f;
    each(group, width / N, [&](int i) {
      auto total = read<N>(out, i);
      auto const d = read<N>(delta + row * width, i);
      for (int j = 0; j < N; ++j) total.at[j] += w * d.at[j];
      write<N>(out, i, total);
    });
  }
};

template <typename T, int N>
struct ScatterAddRowsBackward {
  T const* dy;
  int64_t const* index;
  T const* delta;
  float const* weight;  // null: 1, and no dweight
  T* ddelta;
  float* dweight;
  int width;

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t row) const {
    T const* grad = dy + index[row] * width;
    float const w = weight ? weight[row] : 1.0f;
    float const dot = sum(group, width / N, [&](int i) {
      auto g = read<N>(grad, i);
      float total = 0;
      if (weight) {
        auto const d = read<N>(delta + row * width, i);
        for (int j = 0; j < N; ++j) total += g.at[j] * d.at[j];
      }
      for (int j = 0; j < N; ++j) g.at[j] *= w;
      write<N>(ddelta + row * width, i, g);
      return total;
    });
    if (weight && group.rank() == 0) dweight[row] = dot;
  }
};

}  // namespace isobath::cuda
