#pragma once
// Keys and values of texts that are being generated. A layer keeps those of the tokens that went through it and no others, in blocks that
// stay where they are: the cache grows by blocks, is never copied, and a finished text's blocks serve the next one.

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
  // most_bytes: of blocks that are in use, 0: no limit.
  KvCache(int64_t layers, int64_t kv_heads, int64_t head_dim, int64_t most_bytes = 0);

  int64_t add();              // a new text's slot
  void remove(int64_t slot);  // the text is finished

  // The layer that the next calls are about.
  void enter(int64_t layer) { layer_ = layer; }
  // Stores k_RGE and v_RGE of rows.slots_R, each behind what its text has. Throws Error(allocation) where that would take more than
  // most_bytes; then nothing of them is stored.
  void append(at::Tensor const& k_RGE, at::Tensor const& v_RGE, Rows const& rows);
  // One query a text, which sees all that its text has: [R, H * E].
  at::Tensor attend(at::Tensor const& q_RHE, Rows const& rows) const;

  struct Use {
    int64_t stored = 0;     // bytes of keys and values
    int64_t reserved = 0;   // of the blocks that hold them
    int64_t allocated = 0;  // of all blocks, which later texts take over
  };
  Use use() const { return use_; }

  static constexpr int64_t block_rows = kernels::decode_block_rows;

  // What a depth network that decides for a whole text remembers of its beginning (depth_gate.h).
  struct Prefix {
    int64_t count = 0;
    at::Tensor sum_D;
  };
  Prefix& prefix(int64_t slot) { return prefixes_[slot]; }

 private:
  // Of one text in one layer.
  struct Stored {
    std::vector<int64_t> blocks;
    int64_t rows = 0;
  };
  Stored& stored(int64_t slot) { return texts_[static_cast<size_t>(slot)][static_cast<size_t>(layer_)]; }
  Stored const& stored(int64_t slot) const { return texts_[static_cast<size_t>(slot)][static_cast<size_t>(layer_)]; }
  int64_t take_block(at::Tensor const& like);
  // Of a block, views: keys [G, E, block_rows], so that a vector has the same place of many keys; values [G, block_rows, E].
  at::Tensor keys(int64_t index) const;
  at::Tensor values(int64_t index) const;
  float* block_floats(int64_t index) const;

  int64_t layers_, kv_heads_, head_dim_, most_bytes_, layer_ = 0, block_bytes_ = 0, row_bytes_ = 0;
  std::vector<at::Tensor> slabs_;  // each [slab_blocks, 2, G * block_rows * E]
  std::vector<int64_t> free_blocks_, free_slots_;
  std::vector<std::vector<Stored>> texts_;
  std::map<int64_t, Prefix> prefixes_;
  Use use_;
};

}  // namespace isobath
