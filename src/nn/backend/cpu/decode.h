#pragma once
// Attention of single queries over keys that lie in blocks, in floats: no LibTorch, no threads, dispatch at run time.

#include <cstdint>

namespace isobath::kernels {

constexpr int64_t decode_block_rows = 16;
constexpr int64_t decode_head_dim_step = 16;  // head_dim: a multiple

// Keys of one text: blocks[i] holds rows 16 i and following as [kv_heads, head_dim, 16], so that a vector has the same place of many keys;
// `values` floats behind it lie their values, [kv_heads, 16, head_dim]. What is beyond `rows` may be anything.
struct BlockedKeys {
  float const* const* blocks;
  int64_t rows;
};
struct DecodeShape {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t values = 0;
};

// Work items are pairs (query, key-value head), numbered query * kv_heads + head. q, out [queries, heads, head_dim]; a text without rows
// gives zeros.
void decode_attention(DecodeShape const& shape, BlockedKeys const* texts, float const* q, float* out, int64_t first_item,
                      int64_t last_item);

}  // namespace isobath::kernels
