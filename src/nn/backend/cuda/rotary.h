#pragma once
// Splits rows of queries, keys and values and rotates them by their positions, forward and backward.

#include "nn/backend/cuda/rows.h"

namespace isobath::cuda {

// Moves one row between qkv and q, k, v: forward splits and rotates, backward joins and rotates back.
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

}  // namespace isobath::cuda
