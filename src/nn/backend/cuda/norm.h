#pragma once
// RMSNorm and dot products of rows with one vector, forward and backward.

#include "nn/backend/cuda/rows.h"

namespace isobath::cuda {

template <typename T, int N>
struct RmsNorm {
  T const* x;
  float const* weight;
  T* y;
  float* rstd;
  int width;
  float eps;

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t row) const {
    T const* in = x + row * width;
    float const squares = sum(group, width / N, [&](int i) {
      auto const v = read<N>(in, i);
      float total = 0;
      for (int j = 0; j < N; ++j) total += v.at[j] * v.at[j];
      return total;
    });
    float const scale = 1.0f / std::sqrt(squares / static_cast<float>(width) + eps);
    if (group.rank() == 0) rstd[row] = scale;
    each(group, width / N, [&](int i) {
      auto v = read<N>(in, i);
      auto const w = read<N>(weight, i);
      for (int j = 0; j < N; ++j) v.at[j] *= scale * w.at[j];
      write<N>(y + row * width, i, v);
    });
  }
};

// `part` takes the place of the row: one group works on one part of the rows (each_of_part).
template <typename T, int N>
struct RmsNormBackward {
  T const *dy, *x;
  float const *weight, *rstd;
  T* dx;
  float* dweight_parts;
  int64_t rows, parts;
  int width;
  bool scratch;  // the group's scratch has room for one float per column

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t part) const {
    int const packs = width / N;
    each_of_part<N>(group, dweight_parts, scratch, width, rows, parts, part, [&](int64_t row, float* dweight) {
      T const *in = x + row * width, *grad = dy + row * width;
      float const scale = rstd[row];
      float const dot = sum(group, packs, [&](int i) {
        auto const v = read<N>(in, i), g = read<N>(grad, i), w = read<N>(weight, i);
        float total = 0;
        for (int j = 0; j < N; ++j) total += g.at[j] * w.at[j] * v.at[j];
        return total;
      });
      float const shift = dot * scale * scale * scale / static_cast<float>(width);
      each(group, packs, [&](int i) {
        auto const v = read<N>(in, i), g = read<N>(grad, i), w = read<N>(weight, i);
        auto total = read<N>(dweight, i);
        Floats<N> d;
        for (int j = 0; j < N; ++j) {
          d.at[j] = g.at[j] * w.at[j] * scale - v.at[j] * shift;
          total.at[j] += g.at[j] * v.at[j] * scale;
        }
        write<N>(dx + row * width, i, d);
        write<N>(dweight, i, total);
      });
    });
  }
};

template <typename T, int N>
struct RowDot {
  T const* x;
  float const* weight;
  float* y;
  int width;

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t row) const {
    float const total = sum(group, width / N, [&](int i) {
      auto const v = read<N>(x + row * width, i), w = read<N>(weight, i);
      float part = 0;
      for (int j = 0; j < N; ++j) part += v.at[j] * w.at[j];
      return part;
    });
    if (group.rank() == 0) y[row] = total;
  }
};

// Works in parts, as RmsNormBackward.
template <typename T, int N>
struct RowDotBackward {
  float const* dy;
  T const* x;
  float const* weight;
  T* dx;
  float* dweight_parts;
  int64_t rows, parts;
  int width;
  bool scratch;

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t part) const {
    each_of_part<N>(group, dweight_parts, scratch, width, rows, parts, part, [&](int64_t row, float* dweight) {
      float const grad = dy[row];
      each(group, width / N, [&](int i) {
        auto const v = read<N>(x + row * width, i);
        auto d = read<N>(weight, i), total = read<N>(dweight, i);
        for (int j = 0; j < N; ++j) {
          d.at[j] *= grad;
          total.at[j] += grad * v.at[j];
        }
        write<N>(dx + row * width, i, d);
        write<N>(dweight, i, total);
      });
    });
  }
};

}  // namespace isobath::cuda
