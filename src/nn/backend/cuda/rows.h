#pragma once
// The arithmetic of the CUDA kernels, free of CUDA: what a group of threads does to one row. The kernels (backend.cu) run it with a warp
// or a block as the group; tests/torch/nn/backend/test_cuda_rows.cpp runs it with threads of the CPU. All members of a group call
//   int rank(), int size()            the member's number, and the number of members
//   void sync()                       a barrier; writes before it are seen after it
//   float sum(float), max(float)      over the group, the same bits in every member; also barriers
//   int scan(int value, int& total)   the sum of `value` over lower ranks, and over all; also a barrier
//   void increment(int*)              atomic; members may increment the same int
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

// Calls f(i) for 0 <= i < count; the same i always falls to the same member.
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

// Backward passes that sum over rows work in parts of successive rows. Each part writes its sum of dweight to a place of its own, so that
// the sum over parts has a fixed order. Calls f(row, dweight) for the rows of one part; a column of dweight is touched by one member only.
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

}  // namespace isobath::cuda
