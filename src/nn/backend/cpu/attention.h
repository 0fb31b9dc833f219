#pragma once
// Attention in floats, each query over a range of its sequence's keys: no LibTorch, no threads (attention.cpp hands each thread a range of
// heads), one build with run-time dispatch to AVX-512, AVX2 or baseline. Tensors are contiguous: q, out and their gradients [queries,
// heads, head_dim], k, v and theirs [keys, kv_heads, head_dim], of all sequences one behind the other, so that neither whole transposed
// copies nor repeated key-value heads nor padding are needed.

#include <cstdint>

namespace isobath::kernels {

struct AttentionShape {
  int64_t sequences = 0;
  int64_t heads = 0;  // a multiple of kv_heads
  int64_t kv_heads = 0;
  int64_t head_dim = 0;              // a multiple of attention_head_dim_step
  int64_t const* queries = nullptr;  // [sequences + 1]: the first of each sequence, and their number
  int64_t const* keys = nullptr;     // the same
  // [queries]: of its sequence's keys each query sees those from `from` up to, not including, `to`, at least one. Both ascend within a
  // sequence.
  int64_t const *from = nullptr, *to = nullptr;
};
constexpr int64_t attention_head_dim_step = 16;

// Work items of the forward pass are pairs (sequence, head), of the backward pass pairs (sequence, key-value head), to whose gradients a
// group of heads adds; numbered sequence * heads + head. Each writes its own part of the results. log_sums [queries, heads]:
// logarithm of the sum of exponentials of a row's scores, for the backward pass.
void attention(AttentionShape const& shape, float const* q, float const* k, float const* v, float* out, float* log_sums, int64_t first_item,
               int64_t last_item);
// Recomputes the probabilities. Writes all of dq, dk and dv that belong to the items.
void attention_backward(AttentionShape const& shape, float const* q, float const* k, float const* v, float const* out,
                        float const* log_sums, float const* dout, float* dq, float* dk, float* dv, int64_t first_item, int64_t last_item);

}  // namespace isobath::kernels
