#pragma once
// Keys and values of texts that are being generated. Each layer stores only the rows that it appends (those of its selected tokens, or of
// all tokens with kept keys), in blocks that are never moved: the cache grows by blocks, and reuses the blocks of finished texts.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "nn/backend/cpu/decode.h"
#include "nn/rows.h"

namespace isobath {

class KvCache {
 public:
  // most_bytes: limit for the bytes of blocks in use; 0: no limit.
  KvCache(int64_t layers, int64_t kv_heads, int64_t head_dim, int64_t most_bytes = 0);

  int64_t add();               // a new text's slot
  int64_t copy(int64_t slot);  // the slot of a new text with the same keys and values; most_bytes is not checked
  void remove(int64_t slot);   // the text is finished

  // Sets the layer that the next calls refer to.
  void enter(int64_t layer) { layer_ = layer; }
  // Appends k_RGE and v_RGE to the texts rows.slots_R; the rows of one text stand together, in ascending position. Throws
  // Error(allocation) and stores nothing where that would exceed most_bytes.
  void append(at::Tensor const& k_RGE, at::Tensor const& v_RGE, Rows const& rows);
  // Attention of queries, which are among the rows appended last, over the stored keys of their texts in this layer up to their own
  // position: [R, H * E].
  at::Tensor attend(at::Tensor const& q_RHE, Rows const& rows) const;

  struct Use {
    int64_t stored = 0;     // bytes of keys and values
    int64_t reserved = 0;   // bytes of the blocks in use
    int64_t allocated = 0;  // bytes of all blocks, used or free
  };
  Use use() const { return use_; }

  static constexpr int64_t block_rows = kernels::decode_block_rows;

  // What `choice: sequence` keeps of a text's prefix: the number of its tokens and the sum of their hidden states
  // (model/depth/nested/gate.h).
  struct Prefix {
    int64_t count = 0;
    at::Tensor sum_D;
  };
  Prefix& prefix(int64_t slot) { return prefixes_[slot]; }

 private:
  // What one layer stores of one text.
  struct Stored {
    std::vector<int64_t> blocks;
    int64_t rows = 0;
  };
  Stored& stored(int64_t slot) { return texts_[static_cast<size_t>(slot)][static_cast<size_t>(layer_)]; }
  Stored const& stored(int64_t slot) const { return texts_[static_cast<size_t>(slot)][static_cast<size_t>(layer_)]; }
  int64_t take_block(at::TensorOptions const& options);
  std::vector<int64_t> visible_keys(int64_t const* slots, Rows const& rows) const;  // of each query
  // Views of one block: keys [G, E, block_rows], so that one vector register holds the same element of many keys; values [G, block_rows,
  // E].
  at::Tensor keys(int64_t index) const;
  at::Tensor values(int64_t index) const;
  at::Tensor const& slab_of(int64_t index) const;
  float* block_floats(int64_t index) const;

  int64_t layers_, kv_heads_, head_dim_, most_bytes_, layer_ = 0, block_bytes_ = 0, row_bytes_ = 0;
  std::vector<at::Tensor> slabs_;  // each [slab_blocks, 2, G * block_rows * E]
  std::vector<int64_t> free_blocks_, free_slots_;
  std::vector<std::vector<Stored>> texts_;
  std::map<int64_t, Prefix> prefixes_;
  // The rows appended last, where a text has more than one of them; else empty. keys: of the text up to and with this row.
  struct Appended {
    int64_t slot, position, keys;
  };
  std::vector<Appended> appended_;
  Use use_;
};

}  // namespace isobath
