#include "nn/kernels_cpu_decode.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/kernels_cpu_registers.h"

namespace isobath::kernels {

namespace {

// scores[rows of a block] = q . key, from keys [head_dim, block_rows]. Four sums a row, so that they need not wait for each other.
template <typename R>
ISOBATH_INLINE void scores_of_block(float const* q, float const* keys, float* scores, int64_t head_dim) {
  using Vector = typename R::Vector;
  constexpr int chains = 4, vectors = static_cast<int>(decode_block_rows) / R::lanes;
  Vector sum[chains][vectors] = {};
  for (int64_t e = 0; e < head_dim; e += chains) {
#pragma GCC unroll 4
    for (int c = 0; c < chains; ++c) {
#pragma GCC unroll 4
      for (int n = 0; n < vectors; ++n) {
        Vector key;
        load<R>(key, keys + (e + c) * decode_block_rows + n * R::lanes);
        sum[c][n] += q[e + c] * key;
      }
    }
  }
#pragma GCC unroll 4
  for (int n = 0; n < vectors; ++n) store<R>(scores + n * R::lanes, (sum[0][n] + sum[1][n]) + (sum[2][n] + sum[3][n]));
}

// p[rows] = softmax(scale p)
ISOBATH_INLINE void softmax(float* __restrict p, int64_t rows, float scale) {
  float largest = p[0];
#pragma omp simd reduction(max : largest)
  for (int64_t row = 0; row < rows; ++row) largest = p[row] > largest ? p[row] : largest;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t row = 0; row < rows; ++row) {
    p[row] = exp_fast(scale * (p[row] - largest));
    sum += p[row];
  }
  float const inverse = 1.0f / sum;
#pragma omp simd
  for (int64_t row = 0; row < rows; ++row) p[row] *= inverse;
}

template <typename R>
ISOBATH_INLINE void decode_items(DecodeShape const& s, BlockedKeys const* texts, float const* q, float* out, int64_t first, int64_t last) {
  int64_t const group = s.heads / s.kv_heads, width = s.head_dim, head_floats = decode_block_rows * width;
  auto const scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(width)));
  std::vector<float> scores;  // [group, score_row]
  for (int64_t item = first; item < last; ++item) {
    BlockedKeys const& text = texts[item / s.kv_heads];
    int64_t const kv_head = item % s.kv_heads, blocks = (text.rows + decode_block_rows - 1) / decode_block_rows,
                  score_row = blocks * decode_block_rows;
    float const* const q_group = q + item * group * width;
    float* const out_group = out + item * group * width;
    std::fill_n(out_group, group * width, 0.0f);
    scores.resize(static_cast<size_t>(group * score_row));
    for (int64_t b = 0; b < blocks; ++b)
      for (int64_t h = 0; h < group; ++h)
        scores_of_block<R>(q_group + h * width, text.blocks[b] + kv_head * head_floats,
                           scores.data() + h * score_row + b * decode_block_rows, width);
    if (blocks == 0) continue;
    for (int64_t h = 0; h < group; ++h) softmax(scores.data() + h * score_row, text.rows, scale);
    for (int64_t b = 0; b < blocks; ++b) {
      int64_t const rows = std::min(decode_block_rows, text.rows - b * decode_block_rows);
      product<R>(group, width, rows, {scores.data() + b * decode_block_rows, score_row, 1},
                 text.blocks[b] + s.values + kv_head * head_floats, width, out_group, width, /*add=*/true);
    }
  }
}

ISOBATH_DISPATCH(decode_items,
                 (DecodeShape const& s, BlockedKeys const* texts, float const* q, float* out, int64_t first, int64_t last),
                 (s, texts, q, out, first, last))

}  // namespace

void decode_attention(DecodeShape const& shape, BlockedKeys const* texts, float const* q, float* out, int64_t first_item,
                      int64_t last_item) {
  decode_items_any(shape, texts, q, out, first_item, last_item);
}

}  // namespace isobath::kernels
