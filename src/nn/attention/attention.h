#pragma once
// The attention half of a transformer block, on packed rows.

#include <torch/nn/module.h>

#include "config/config.h"
#include "nn/low_rank.h"
#include "nn/rows.h"
#include "nn/weight_list.h"

namespace isobath {

// cos and sin of every position of the context, [context, E/2] each; one pair serves all layers.
struct RotaryTables {
  at::Tensor cos_TE, sin_TE;
};

// Pre-norm causal self-attention: o(attend(rotary(qkv(norm(x))))). Grouped key-value heads; optional RMS norm of queries and keys.
struct AttentionImpl : torch::nn::Module {
  explicit AttentionImpl(ModelConfig const& config);
  at::Tensor forward(at::Tensor const& x_RD, Rows const& rows, RotaryTables const& rotary);
  // The same with kept keys: the rows index_R (`selected` describes them) give queries, all rows give keys and values.
  at::Tensor forward_among_all(at::Tensor const& x_ND, Rows const& rows, at::Tensor const& index_R, Rows const& selected,
                               RotaryTables const& rotary);

  // Stores the keys and values of all rows in rows.cache, without attention.
  void store(at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary);

  void add_low_rank(int64_t rank);  // updates of its matrices
  void weights(std::string const& layer, InitialStd const& init, WeightList& list) const;

  int64_t heads, kv_heads, head_dim;
  double eps;
  CudaAttention cuda_kernel = CudaAttention::flash;  // see ops::attend
  at::Tensor norm_D, qkv_XD, o_DX;                   // qkv_XD stacks q, k and v
  at::Tensor q_norm_E, k_norm_E;                     // undefined without QK norm
  LowRankUpdate qkv_update, o_update;

 private:
  std::pair<at::Tensor, at::Tensor> keys_and_values(at::Tensor const& normed_ND, Rows const& rows, RotaryTables const& rotary) const;
};

}  // namespace isobath
