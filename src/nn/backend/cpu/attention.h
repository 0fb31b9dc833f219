#pragma once
// Attention in floats, each query over a range of its sequence's keys: no LibTorch, no threads (nn/attention/attend.cpp hands each thread a
// range of work items), one build with run-time dispatch to AVX-512, AVX2 or baseline. Tensors are contiguous: q, out and their gradients
// [queries, heads, head_dim], k, v and theirs [keys, kv_heads, head_dim], sequences concatenated, so that no transposed copies
// of whole tensors, repeated key-value heads or padding are needed.

#include <cstdint>

namespace isobath::kernels {

struct AttentionShape {
  int64_t sequences = 0;
  int64_t heads = 0;  // a multiple of kv_heads
  int64_t kv_heads = 0;
  int64_t head_dim = 0;              // a multiple of attention_head_dim_step
  int64_t const* queries = nullptr;  // [sequences + 1]: each sequence's first query, then their number
  int64_t const* keys = nullptr;     // the same
  // [queries]: each query attends to the keys from `from` up to, not including, `to` of its sequence, at least one. Both ascend within a
  // sequence.
  int64_t const *from = nullptr, *to = nullptr;
};
constexpr int64_t attention_head_dim_step = 16;

// Compute work items [first_item, last_item), numbered sequence * (number of heads) + head. Forward items are (sequence, head), backward
// items (sequence, key-value head), so that each item writes its own part of the results. log_sums [queries, heads]: logarithm of the sum
// of exponentials of a query's scores, for the backward pass.
void attention(AttentionShape const& shape, float const* q, float const* k, float const* v, float* out, float* log_sums, int64_t first_item,
               int64_t last_item);
// Recomputes the probabilities. Writes all of dq, dk and dv that belong to the items.
void attention_backward(AttentionShape const& shape, float const* q, float const* k, float const* v, float const* out,
                        float const* log_sums, float const* dout, float* dq, float* dk, float* dv, int64_t first_item, int64_t last_item);

}  // namespace isobath::kernels
