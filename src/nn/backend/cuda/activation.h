#pragma once
// SwiGLU and GELU, forward and backward.

#include "nn/backend/cuda/rows.h"

namespace isobath::cuda {

template <typename T, int N>
struct SwiGlu {
  T const* gate_up;
  T* y;
  int hidden;

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t row) const {
    T const *gate = gate_up + row * 2 * hidden, *up = gate + hidden;
    each(group, hidden / N, [&](int i) {
      auto v = read<N>(gate, i);
      auto const u = read<N>(up, i);
      for (int j = 0; j < N; ++j) v.at[j] *= sigmoid(v.at[j]) * u.at[j];
      write<N>(y + row * hidden, i, v);
    });
  }
};

template <typename T, int N>
struct SwiGluBackward {
  T const *dy, *gate_up;
  T* dgate_up;
  int hidden;

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t row) const {
    T const *gate = gate_up + row * 2 * hidden, *up = gate + hidden;
    T *dgate = dgate_up + row * 2 * hidden, *dup = dgate + hidden;
    each(group, hidden / N, [&](int i) {
      auto v = read<N>(gate, i), u = read<N>(up, i);
      auto const g = read<N>(dy + row * hidden, i);
      for (int j = 0; j < N; ++j) {
        float const s = sigmoid(v.at[j]), silu = v.at[j] * s;
        v.at[j] = g.at[j] * u.at[j] * (s + silu * (1.0f - s));
        u.at[j] = g.at[j] * silu;
      }
      write<N>(dgate, i, v);
      write<N>(dup, i, u);
    });
  }
};

constexpr float gelu_scale = 0.7978845608028654f;  // sqrt(2 / pi)
constexpr float gelu_cubic = 0.044715f;

// 0.5 (1 + tanh(z)) = sigmoid(2z)
ISOBATH_DEVICE float gelu_gate(float x) { return sigmoid(2.0f * gelu_scale * (x + gelu_cubic * x * x * x)); }

// The tensor is taken as rows of `width` elements, the last one perhaps shorter.
template <typename T, int N>
struct Gelu {
  T const* x;
  T* y;
  int64_t count;
  int width;

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t row) const {
    int64_t const first = row * width, left = count - first;
    each(group, static_cast<int>(left < width ? left : width) / N, [&](int i) {
      auto v = read<N>(x + first, i);
      for (int j = 0; j < N; ++j) v.at[j] *= gelu_gate(v.at[j]);
      write<N>(y + first, i, v);
    });
  }
};

template <typename T, int N>
struct GeluBackward {
  T const *dy, *x;
  T* dx;
  int64_t count;
  int width;

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t row) const {
    int64_t const first = row * width, left = count - first;
    each(group, static_cast<int>(left < width ? left : width) / N, [&](int i) {
      auto v = read<N>(x + first, i);
      auto const g = read<N>(dy + first, i);
      for (int j = 0; j < N; ++j) {
        float const s = gelu_gate(v.at[j]);
        float const slope = 2.0f * gelu_scale * (1.0f + 3.0f * gelu_cubic * v.at[j] * v.at[j]);
        v.at[j] = g.at[j] * (s + v.at[j] * s * (1.0f - s) * slope);
      }
      write<N>(dx + first, i, v);
    });
  }
};

}  // namespace isobath::cuda
