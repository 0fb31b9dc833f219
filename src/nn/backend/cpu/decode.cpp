#include "nn/backend/cpu/decode.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/backend/cpu/registers.h"

namespace isobath::kernels {

namespace {

// Prefetches the beginning of another head's keys or values: the processor itself prefetches within a page of memory, but not into the
// next.
ISOBATH_INLINE void fetch_beginning(float const* of_head) {
  constexpr int lines = 8, line_floats = 16;
#pragma GCC unroll 8
  for (int64_t i = 0; i < lines; ++i) __builtin_prefetch(of_head + i * line_floats);
}

// scores[rows of a block] = q . key, from keys [head_dim, block_rows]. Each row has four sums, which do not wait for each other.
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
  float largest;
  float const sum = softmax_numerators(p, rows, scale, largest);
  float const inverse = 1.0f / sum;
#pragma omp simd
  for (int64_t row = 0; row < rows; ++row) p[row] *= inverse;
}

// Key-value heads [first, last) of one text. Heads are the inner loop, so that each block is read from its front to its end.
template <typename R>
ISOBATH_INLINE void decode_text(DecodeShape const& s, BlockedKeys const& text, float const* q, float* out, int64_t first, int64_t last,
                                std::vector<float>& scores) {
  int64_t const group = s.heads / s.kv_heads, width = s.head_dim, head_floats = decode_block_rows * width,
                blocks = (text.rows + decode_block_rows - 1) / decode_block_rows, score_row = blocks * decode_block_rows;
  auto const scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(width)));
  std::fill(out + first * group * width, out + last * group * width, 0.0f);
  if (blocks == 0) return;
  scores.resize(static_cast<size_t>((last - first) * group * score_row));
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t h = first * group; h < last * group; ++h) {
      float const* const keys = text.blocks[b] + h / group * head_floats;
      fetch_beginning(keys + 2 * head_floats);
      scores_of_block<R>(q + h * width, keys, scores.data() + (h - first * group) * score_row + b * decode_block_rows, width);
    }
  for (int64_t h = 0; h < (last - first) * group; ++h) softmax(scores.data() + h * score_row, text.rows, scale);
  for (int64_t b = 0; b < blocks; ++b) {
    int64_t const rows = std::min(decode_block_rows, text.rows - b * decode_block_rows);
    for (int64_t g = first; g < last; ++g) {
      float const* const values = text.blocks[b] + s.values + g * head_floats;
      fetch_beginning(values + 2 * head_floats);
      product<R>(group, width, rows, {scores.data() + (g - first) * group * score_row + b * decode_block_rows, score_row, 1}, values, width,
                 out + g * group * width, width, /*add=*/true);
    }
  }
}

template <typename R>
ISOBATH_INLINE void decode_items(DecodeShape const& s, BlockedKeys const* texts, float const* q, float* out, int64_t first, int64_t last) {
  std::vector<float> scores;  // [heads, rows]
  for (int64_t item = first; item < last;) {
    int64_t const text = item / s.kv_heads, from = item % s.kv_heads, to = std::min(s.kv_heads, from + last - item);
    int64_t const at = text * s.heads * s.head_dim;
    decode_text<R>(s, texts[text], q + at, out + at, from, to, scores);
    item += to - from;
  }
}

ISOBATH_DISPATCH(decode_items, (DecodeShape const& s, BlockedKeys const* texts, float const* q, float* out, int64_t first, int64_t last),
                 (s, texts, q, out, first, last))

}  // namespace

void decode_attention(DecodeShape const& shape, BlockedKeys const* texts, float const* q, float* out, int64_t first_item,
                      int64_t last_item) {
  decode_items_any(shape, texts, q, out, first_item, last_item);
}

}  // namespace isobath::kernels
