#pragma once
// Attention of single queries over keys that lie in blocks, in floats: no LibTorch, no threads, dispatch at run time.

#include <cstdint>

namespace isobath::kernels {

constexpr int64_t decode_block_rows = 16;
constexpr int64_t decode_head_dim_step = 16;  // head_dim must be a multiple of it

// Keys and values of one text. blocks[i] holds the keys of rows 16 i to 16 i + 15 as [kv_heads, head_dim, 16], so that one vector register
// holds the same element of many keys. Their values, [kv_heads, 16, head_dim], begin `values` floats behind the block's begin. Places
// beyond `rows` may hold anything.
struct BlockedKeys {
  float const* const* blocks;
  int64_t rows;
};
struct DecodeShape {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t values = 0;
};

// Computes work items [first_item, last_item). They are pairs (query, key-value head), numbered query * kv_heads + head. q, out: [queries,
// heads, head_dim]; a text without rows gives zeros.
void decode_attention(DecodeShape const& shape, BlockedKeys const* texts, float const* q, float* out, int64_t first_item,
                      int64_t last_item);

}  // namespace isobath::kernels
