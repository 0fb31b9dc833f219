#pragma once
// Tiles of matrix products in the registers of an instruction set. A kernel is a template over Registers; ISOBATH_DISPATCH instantiates it
// for every instruction set and chooses by the processor at run time.

#include <cstdint>

#include "nn/backend/cpu/math.h"

namespace isobath::kernels {

// `lanes`: floats per vector. `most_vectors`: the most vectors per row of a tile whose sums fit in the registers.
template <int Lanes, int MostVectors>
struct Registers {
  static constexpr int lanes = Lanes, most_vectors = MostVectors;
  typedef float Vector __attribute__((vector_size(Lanes * sizeof(float))));
  typedef int32_t Places __attribute__((vector_size(Lanes * sizeof(int32_t))));
};

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
using Baseline = Registers<4, 2>;
using Avx2 = Registers<8, 2>;
using Avx512 = Registers<16, 4>;
#define ISOBATH_DISPATCH(name, parameters, arguments)                                             \
  __attribute__((target("arch=x86-64-v4"))) void name##_v4 parameters { name<Avx512> arguments; } \
  __attribute__((target("arch=x86-64-v3"))) void name##_v3 parameters { name<Avx2> arguments; }   \
  void name##_any parameters {                                                                    \
    if (__builtin_cpu_supports("x86-64-v4")) return name##_v4 arguments;                          \
    if (__builtin_cpu_supports("x86-64-v3")) return name##_v3 arguments;                          \
    name<Baseline> arguments;                                                                     \
  }
#else
using Baseline = Registers<4, 4>;
#define ISOBATH_DISPATCH(name, parameters, arguments) \
  void name##_any parameters { name<Baseline> arguments; }
#endif

// Vectors are passed by reference: by value their calling convention would differ between instruction sets.
template <typename R>
ISOBATH_INLINE void load(typename R::Vector& to, float const* from) {
  __builtin_memcpy(&to, from, sizeof(to));
}
template <typename R>
ISOBATH_INLINE void store(float* to, typename R::Vector const& from) {
  __builtin_memcpy(to, &from, sizeof(from));
}

// A matrix whose element (m, k) lies at data[m * row + k * step].
struct Strided {
  float const* data;
  int64_t row, step;
};

// c[rows, vectors * lanes] (+)= a[rows, depth] b[depth, vectors * lanes], in registers.
template <typename R, int rows, int vectors>
ISOBATH_INLINE void tile(int64_t depth, Strided a, float const* b, int64_t b_row, float* c, int64_t c_row, bool add) {
  using Vector = typename R::Vector;
  Vector sum[rows][vectors] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Vector right[vectors];
#pragma GCC unroll 8
    for (int n = 0; n < vectors; ++n) load<R>(right[n], b + k * b_row + n * R::lanes);
#pragma GCC unroll 8
    for (int m = 0; m < rows; ++m) {
      float const left = a.data[m * a.row + k * a.step];
#pragma GCC unroll 8
      for (int n = 0; n < vectors; ++n) sum[m][n] += left * right[n];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < rows; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < vectors; ++n) {
      float* const to = c + m * c_row + n * R::lanes;
      if (add) {
        Vector before;
        load<R>(before, to);
        sum[m][n] += before;
      }
      store<R>(to, sum[m][n]);
    }
  }
}

template <typename R, int vectors>
ISOBATH_INLINE void strip(int64_t rows, int64_t depth, Strided a, float const* b, int64_t b_row, float* c, int64_t c_row, bool add) {
  constexpr int tall = vectors * 2 > R::most_vectors ? 4 : 8;  // few columns: more rows keep enough independent sums in flight
  int64_t m = 0;
  for (; m + tall <= rows; m += tall)
    tile<R, tall, vectors>(depth, {a.data + m * a.row, a.row, a.step}, b, b_row, c + m * c_row, c_row, add);
  for (; m < rows; ++m) tile<R, 1, vectors>(depth, {a.data + m * a.row, a.row, a.step}, b, b_row, c + m * c_row, c_row, add);
}

// c[rows, columns] (+)= a[rows, depth] b[depth, columns]; columns: a multiple of 16.
template <typename R>
ISOBATH_INLINE void product(int64_t rows, int64_t columns, int64_t depth, Strided a, float const* b, int64_t b_row, float* c, int64_t c_row,
                            bool add) {
  constexpr int wide = R::most_vectors;
  int64_t n = 0;
  for (; n + wide * R::lanes <= columns; n += wide * R::lanes) strip<R, wide>(rows, depth, a, b + n, b_row, c + n, c_row, add);
  for (; n < columns; n += R::lanes) strip<R, 1>(rows, depth, a, b + n, b_row, c + n, c_row, add);
}

}  // namespace isobath::kernels
