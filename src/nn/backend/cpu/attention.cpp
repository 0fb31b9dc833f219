#include "nn/backend/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/backend/cpu/math.h"
#include "nn/backend/cpu/registers.h"

namespace isobath::kernels {

namespace {

// Queries are taken in blocks. A block's keys go from the first key of its first query to the last key of its last query. Its scores stay
// in the first-level cache up to about 500 keys, and in the second-level cache far beyond.
constexpr int64_t block = 16;

ISOBATH_INLINE int64_t padded(int64_t count) { return (count + 15) / 16 * 16; }

// to[width, padded(rows)] = from[rows, width]^T, padded with zeros.
ISOBATH_INLINE void transpose(float const* from, int64_t from_row, int64_t rows, int64_t width, std::vector<float>& to) {
  int64_t const to_row = padded(rows);
  to.assign(static_cast<size_t>(width * to_row), 0.0f);
  for (int64_t first = 0; first < rows; first += 16) {  // sixteen rows at a time: whole cache lines are written
    int64_t const last = std::min(first + 16, rows);
    for (int64_t i = 0; i < width; ++i) {
      float* line = to.data() + i * to_row;
      for (int64_t r = first; r < last; ++r) line[r] = from[r * from_row + i];
    }
  }
}

// One head of one sequence: where its rows lie.
struct Head {
  int64_t queries, keys, width, q_row, k_row;
  int64_t const *from, *to;
  double scale;
};

// A block of queries and the keys that any of them attends to: [low, high), `low` rounded down to a multiple of 16.
struct Block {
  int64_t first, rows, low, high;
};

ISOBATH_INLINE Block block_at(Head const& head, int64_t first) {
  int64_t const rows = std::min(block, head.queries - first);
  return {first, rows, head.from[first] / 16 * 16, head.to[first + rows - 1]};
}

// Scores of a block's queries and keys, not scaled; key j in column j.
template <typename R>
ISOBATH_INLINE void scores_of(Head const& head, float const* q, std::vector<float> const& k_transposed, Block const& b, float* scores) {
  int64_t const row = padded(head.keys);
  product<R>(b.rows, padded(b.high) - b.low, head.width, {q + b.first * head.q_row, head.q_row, 1}, k_transposed.data() + b.low, row,
             scores + b.low, row, false);
}

// Sets a row of scores to zero at the block's keys that query `i` of the sequence does not attend to.
ISOBATH_INLINE void clear_unseen(Head const& head, Block const& b, int64_t i, float* row) {
  std::fill(row + b.low, row + head.from[i], 0.0f);
  std::fill(row + head.to[i], row + b.high, 0.0f);
}

template <typename R>
ISOBATH_INLINE void head_forward(Head const& head, float const* q, std::vector<float> const& k_transposed, float const* v, float* out,
                                 float* log_sums, int64_t log_row, std::vector<float>& scores) {
  auto const scale = static_cast<float>(head.scale);
  int64_t const score_row = padded(head.keys);
  for (int64_t first = 0; first < head.queries; first += block) {
    Block const b = block_at(head, first);
    scores_of<R>(head, q, k_transposed, b, scores.data());
    float inverse[block];
    for (int64_t i = 0; i < b.rows; ++i) {
      float* __restrict row = scores.data() + i * score_row;
      int64_t const from = head.from[first + i];
      float largest;
      float const sum = softmax_numerators(row + from, head.to[first + i] - from, scale, largest);
      clear_unseen(head, b, first + i, row);
      inverse[i] = 1.0f / sum;
      log_sums[(first + i) * log_row] = scale * largest + std::log(sum);
    }
    float* const to = out + first * head.q_row;
    product<R>(b.rows, head.width, b.high - b.low, {scores.data() + b.low, score_row, 1}, v + b.low * head.k_row, head.k_row, to,
               head.q_row, false);
    for (int64_t i = 0; i < b.rows; ++i) {
      float* __restrict row = to + i * head.q_row;
#pragma omp simd
      for (int64_t e = 0; e < head.width; ++e) row[e] *= inverse[i];
    }
  }
}

struct HeadGradients {
  float const *out, *log_sums, *dout;
  int64_t log_row;
  float *dq, *dk, *dv;
};

// Writes dq; adds to dk and dv.
template <typename R>
ISOBATH_INLINE void head_backward(Head const& head, float const* q, float const* k, std::vector<float> const& k_transposed,
                                  std::vector<float> const& v_transposed, HeadGradients const& g, std::vector<float>& scores,
                                  std::vector<float>& dscores) {
  auto const scale = static_cast<float>(head.scale);
  int64_t const score_row = padded(head.keys);
  for (int64_t first = 0; first < head.queries; first += block) {
    Block const b = block_at(head, first);
    float const* const dout = g.dout + first * head.q_row;
    scores_of<R>(head, q, k_transposed, b, scores.data());
    scores_of<R>(head, g.dout, v_transposed, b, dscores.data());
    for (int64_t i = 0; i < b.rows; ++i) {
      float* __restrict p = scores.data() + i * score_row;
      float* __restrict ds = dscores.data() + i * score_row;
      float const* __restrict o = g.out + (first + i) * head.q_row;
      float const* __restrict d = dout + i * head.q_row;
      int64_t const from = head.from[first + i], to = head.to[first + i];
      float const log_sum = g.log_sums[(first + i) * g.log_row];
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int64_t e = 0; e < head.width; ++e) dot += o[e] * d[e];
#pragma omp simd
      for (int64_t j = from; j < to; ++j) {
        p[j] = exp_fast(scale * p[j] - log_sum);
        ds[j] = p[j] * (ds[j] - dot) * scale;
      }
      clear_unseen(head, b, first + i, p);
      clear_unseen(head, b, first + i, ds);
    }
    int64_t const keys = b.high - b.low, at_key = b.low * head.k_row;
    float const *const p = scores.data() + b.low, *const ds = dscores.data() + b.low;
    product<R>(b.rows, head.width, keys, {ds, score_row, 1}, k + at_key, head.k_row, g.dq + first * head.q_row, head.q_row, false);
    product<R>(keys, head.width, b.rows, {ds, 1, score_row}, q + first * head.q_row, head.q_row, g.dk + at_key, head.k_row, true);
    product<R>(keys, head.width, b.rows, {p, 1, score_row}, dout, head.q_row, g.dv + at_key, head.k_row, true);
  }
}

// Offset of the first row of one head of one sequence.
int64_t query_offset(AttentionShape const& s, int64_t sequence, int64_t head) {
  return (s.queries[sequence] * s.heads + head) * s.head_dim;
}
int64_t key_offset(AttentionShape const& s, int64_t sequence, int64_t kv_head) {
  return (s.keys[sequence] * s.kv_heads + kv_head) * s.head_dim;
}
int64_t log_offset(AttentionShape const& s, int64_t sequence, int64_t head) { return s.queries[sequence] * s.heads + head; }

ISOBATH_INLINE Head head_of(AttentionShape const& s, int64_t sequence) {
  return {s.queries[sequence + 1] - s.queries[sequence],
          s.keys[sequence + 1] - s.keys[sequence],
          s.head_dim,
          s.heads * s.head_dim,
          s.kv_heads * s.head_dim,
          s.from + s.queries[sequence],
          s.to + s.queries[sequence],
          1.0 / std::sqrt(static_cast<double>(s.head_dim))};
}

// Number of scores of one block of queries with all keys of the longest sequence.
size_t score_size(AttentionShape const& s) {
  int64_t longest = 0;
  for (int64_t sequence = 0; sequence < s.sequences; ++sequence) longest = std::max(longest, s.keys[sequence + 1] - s.keys[sequence]);
  return static_cast<size_t>(block * padded(longest));
}

template <typename R>
ISOBATH_INLINE void forward_items(AttentionShape const& s, float const* q, float const* k, float const* v, float* out, float* log_sums,
                                  int64_t first, int64_t last) {
  std::vector<float> k_transposed, scores(score_size(s));
  for (int64_t item = first; item < last; ++item) {
    int64_t const sequence = item / s.heads, h = item % s.heads;
    Head const head = head_of(s, sequence);
    int64_t const at_q = query_offset(s, sequence, h), at_k = key_offset(s, sequence, h / (s.heads / s.kv_heads));
    transpose(k + at_k, head.k_row, head.keys, s.head_dim, k_transposed);
    head_forward<R>(head, q + at_q, k_transposed, v + at_k, out + at_q, log_sums + log_offset(s, sequence, h), s.heads, scores);
  }
}

template <typename R>
ISOBATH_INLINE void backward_items(AttentionShape const& s, float const* q, float const* k, float const* v, float const* out,
                                   float const* log_sums, float const* dout, float* dq, float* dk, float* dv, int64_t first, int64_t last) {
  size_t const size = score_size(s);
  std::vector<float> k_transposed, v_transposed, scores(size), dscores(size);
  int64_t const group = s.heads / s.kv_heads;
  for (int64_t item = first; item < last; ++item) {
    int64_t const sequence = item / s.kv_heads, kv_head = item % s.kv_heads, at_k = key_offset(s, sequence, kv_head);
    Head const head = head_of(s, sequence);
    transpose(k + at_k, head.k_row, head.keys, s.head_dim, k_transposed);
    transpose(v + at_k, head.k_row, head.keys, s.head_dim, v_transposed);
    for (int64_t r = 0; r < head.keys; ++r) {
      std::fill_n(dk + at_k + r * head.k_row, s.head_dim, 0.0f);
      std::fill_n(dv + at_k + r * head.k_row, s.head_dim, 0.0f);
    }
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      int64_t const at_q = query_offset(s, sequence, h);
      head_backward<R>(head, q + at_q, k + at_k, k_transposed, v_transposed,
                       {out + at_q, log_sums + log_offset(s, sequence, h), dout + at_q, s.heads, dq + at_q, dk + at_k, dv + at_k}, scores,
                       dscores);
    }
  }
}

ISOBATH_DISPATCH(forward_items,
                 (AttentionShape const& s, float const* q, float const* k, float const* v, float* out, float* log_sums, int64_t first,
                  int64_t last),
                 (s, q, k, v, out, log_sums, first, last))
ISOBATH_DISPATCH(backward_items,
                 (AttentionShape const& s, float const* q, float const* k, float const* v, float const* out, float const* log_sums,
                  float const* dout, float* dq, float* dk, float* dv, int64_t first, int64_t last),
                 (s, q, k, v, out, log_sums, dout, dq, dk, dv, first, last))

}  // namespace

void attention(AttentionShape const& shape, float const* q, float const* k, float const* v, float* out, float* log_sums, int64_t first_item,
               int64_t last_item) {
  forward_items_any(shape, q, k, v, out, log_sums, first_item, last_item);
}

void attention_backward(AttentionShape const& shape, float const* q, float const* k, float const* v, float const* out,
                        float const* log_sums, float const* dout, float* dq, float* dk, float* dv, int64_t first_item, int64_t last_item) {
  backward_items_any(shape, q, k, v, out, log_sums, dout, dq, dk, dv, first_item, last_item);
}

}  // namespace isobath::kernels
