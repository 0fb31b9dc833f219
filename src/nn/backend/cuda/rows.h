#pragma once
// The arithmetic of the CUDA kernels, free of CUDA: what a group of threads does to one row. The kernels (backend.cu) run it with a warp
// or a block as the group; tests/torch/test_cuda_rows.cpp runs it with threads of the CPU. All members of a group call
//   int rank(), int size()            who am I, of how many
//   void sync()                       a barrier; writes before it are seen after it
//   float sum(float), max(float)      over the group, the same bits for everyone; also barriers
//   int scan(int value, int& total)   the sum of `value` over lower ranks, and over all; also a barrier
//   void increment(int*)              together with others
//   void* scratch()                   memory shared by the group, as much as the launch asked for, 16-byte aligned
//
// T is the type of activations: float or bfloat16. Everything is computed in float. N elements are read or written at a time: they must
// divide the width, and rows must be aligned for it.

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <type_traits>

#ifdef __CUDACC__
#define ISOBATH_DEVICE __device__ __forceinline__
#else
#define ISOBATH_DEVICE inline
#endif

namespace isobath::cuda {

template <typename T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
  T at[N];
};

template <int N>
using Floats = Pack<float, N>;

template <int N, typename T>
ISOBATH_DEVICE Floats<N> read(T const* row, int i) {
  Pack<T, N> const pack = reinterpret_cast<Pack<T, N> const*>(row)[i];
  Floats<N> values;
  for (int j = 0; j < N; ++j) values.at[j] = static_cast<float>(pack.at[j]);
  return values;
}

template <int N, typename T>
ISOBATH_DEVICE void write(T* row, int i, Floats<N> const& values) {
  Pack<T, N> pack;
  for (int j = 0; j < N; ++j) pack.at[j] = static_cast<T>(values.at[j]);
  reinterpret_cast<Pack<T, N>*>(row)[i] = pack;
}

// The same i always falls to the same member.
template <typename Group, typename F>
ISOBATH_DEVICE void each(Group const& group, int count, F f) {
  for (int i = group.rank(); i < count; i += group.size()) f(i);
}

template <typename Group, typename F>
ISOBATH_DEVICE float sum(Group const& group, int count, F f) {
  float total = 0;
  each(group, count, [&](int i) { total += f(i); });
  return group.sum(total);
}

ISOBATH_DEVICE float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

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

// Backward passes that sum over rows work in parts: some successive rows, whose share of dweight has its own place, so that the sum over
// parts has a fixed order. Calls f(row, dweight) for the rows of one part; a column of dweight is touched by one member only.
template <int N, typename Group, typename F>
ISOBATH_DEVICE void each_of_part(Group const& group, float* dweight_parts, bool scratch, int width, int64_t rows, int64_t parts,
                                 int64_t part, F f) {
  int const packs = width / N;
  float* const share = dweight_parts + part * width;
  float* const dweight = scratch ? static_cast<float*>(group.scratch()) : share;
  each(group, packs, [&](int i) { write<N>(dweight, i, {}); });
  for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; ++row) f(row, dweight);
  each(group, packs, [&](int i) { write<N>(share, i, read<N>(dweight, i)); });
}

// One "row" is a part (each_of_part).
template <typename T, int N>
struct RmsNormBackward {
  T const *dy, *x;
  float const *weight, *rstd;
  T* dx;
  float* dweight_parts;
  int64_t rows, parts;
  int width;
  bool scratch;  // there is scratch for a float a column

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

// In parts, as RmsNormBackward.
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

// Rows of `width`, the last one perhaps shorter.
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

// Between a row of qkv and its rows of q, k and v: forward splits and rotates, backward joins and rotates back.
template <typename T, int N, bool backward>
struct SplitRotary {
  std::conditional_t<backward, T, T const>* qkv;
  std::conditional_t<backward, T const, T>*q, *k, *v;
  int64_t const* positions;
  float const *cos, *sin;
  int heads, kv_heads, head_dim;

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t row) const {
    int const half = head_dim / 2, packs = half / N, all_heads = heads + 2 * kv_heads;
    float const *c = cos + positions[row] * half, *s = sin + positions[row] * half;
    each(group, all_heads * packs, [&](int item) {
      int const head = item / packs, i = item % packs;
      auto* const joined = qkv + (row * all_heads + head) * head_dim;
      auto* const parted = head < heads              ? q + (row * heads + head) * head_dim
                           : head < heads + kv_heads ? k + (row * kv_heads + head - heads) * head_dim
                                                     : v + (row * kv_heads + head - heads - kv_heads) * head_dim;
      T const* from;
      T* to;
      if constexpr (backward) {
        from = parted, to = joined;
      } else {
        from = joined, to = parted;
      }
      auto a = read<N>(from, i), b = read<N>(from + half, i);
      if (head < heads + kv_heads) {
        auto const cosine = read<N>(c, i), sine = read<N>(s, i);
        for (int j = 0; j < N; ++j) {
          float const turn = backward ? -sine.at[j] : sine.at[j], first = a.at[j], second = b.at[j];
          a.at[j] = first * cosine.at[j] - second * turn;
          b.at[j] = second * cosine.at[j] + first * turn;
        }
      }
      write<N>(to, i, a);
      write<N>(to + half, i, b);
    });
  }
};

// In place.
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
    float const at_target = static_cast<float>(values[target]);  // before anyone writes: the sums below are barriers
    // Each member's sum of exp(v - largest) with its own largest so far, which starts finite because -inf - -inf is no number.
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
