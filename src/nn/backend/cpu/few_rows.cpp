#include "nn/backend/cpu/kernels.h"
#include "nn/backend/cpu/registers.h"

namespace isobath::kernels {

namespace {

// a = (a0 + a1, a2 + a3, ..., b0 + b1, ...)
template <typename R>
ISOBATH_INLINE void sum_neighbours(typename R::Vector& a, typename R::Vector const& b) {
  typename R::Places even;
  for (int i = 0; i < R::lanes; ++i) even[i] = 2 * i;
  a = __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, even + 1);
}

// Products of `rows` rows of x [rows, depth] with four rows of w or with one, while the row at `ahead` is prefetched. Each sum adds the
// same terms in the same order, whatever the tile.
template <typename R, int rows, int columns>
ISOBATH_INLINE void dots(float const* x, float const* w, float const* ahead, float* out, int64_t depth, int64_t out_row) {
  static_assert(columns == 4 || columns == 1);
  using Vector = typename R::Vector;
  Vector sum[rows][columns] = {};
  int64_t k = 0;
  for (; k + R::lanes <= depth; k += R::lanes) {
    __builtin_prefetch(ahead + k);
    Vector weights[columns];
#pragma GCC unroll 4
    for (int n = 0; n < columns; ++n) load<R>(weights[n], w + n * depth + k);
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      Vector row;
      load<R>(row, x + r * depth + k);
#pragma GCC unroll 4
      for (int n = 0; n < columns; ++n) sum[r][n] += row * weights[n];
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
    Vector& sums = sum[r][0];
    if constexpr (columns == 4) {
      sum_neighbours<R>(sums, sum[r][1]);
      sum_neighbours<R>(sum[r][2], sum[r][3]);
      sum_neighbours<R>(sums, sum[r][2]);
    }
#pragma GCC unroll 4
    for (int parts = columns == 4 ? R::lanes / 4 : R::lanes; parts > 1; parts /= 2) sum_neighbours<R>(sums, sums);
#pragma GCC unroll 4
    for (int n = 0; n < columns; ++n) {
      float all = sums[n];
      for (int64_t i = k; i < depth; ++i) all += x[r * depth + i] * w[n * depth + i];
      out[r * out_row + n] = all;
    }
  }
}

template <typename R, int columns>
ISOBATH_INLINE void dots_of_all(float const* x, float const* w, float* out, int64_t rows, int64_t depth, int64_t out_row) {
  constexpr int tall = R::most_vectors;
  auto const ahead = [&](int64_t tile) { return w + (columns + tile % columns) * depth; };  // the next rows of w, one for each tile
  int64_t r = 0;
  for (; r + tall <= rows; r += tall) dots<R, tall, columns>(x + r * depth, w, ahead(r / tall), out + r * out_row, depth, out_row);
  for (; r < rows; ++r) dots<R, 1, columns>(x + r * depth, w, ahead(r), out + r * out_row, depth, out_row);
}

template <typename R>
ISOBATH_INLINE void product_of_few(float const* x, float const* w, float* out, int64_t rows, int64_t depth, int64_t columns, int64_t first,
                                   int64_t last) {
  int64_t n = first;
  for (; n + 4 <= last; n += 4) dots_of_all<R, 4>(x, w + n * depth, out + n, rows, depth, columns);
  for (; n < last; ++n) dots_of_all<R, 1>(x, w + n * depth, out + n, rows, depth, columns);
}

ISOBATH_DISPATCH(product_of_few,
                 (float const* x, float const* w, float* out, int64_t rows, int64_t depth, int64_t columns, int64_t first, int64_t last),
                 (x, w, out, rows, depth, columns, first, last))

}  // namespace

void few_rows_product(float const* x, float const* w, float* out, int64_t rows, int64_t depth, int64_t columns, int64_t first,
                      int64_t last) {
  product_of_few_any(x, w, out, rows, depth, columns, first, last);
}

}  // namespace isobath::kernels
