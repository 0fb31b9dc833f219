#pragma once
// A block that only some tokens go through (Raposo et al. 2024, section 3): x[idx] += g(r[idx]) * delta(x[idx]). Or only its attention or
// its MLP is such: then the other half sees every token, and the router scores the input of the half that is routed.

#include <torch/nn/module.h>

#include "model/depth/mod/route.h"
#include "nn/layers.h"

namespace isobath {

// What is routed of a block: all of it, or one half.
enum class Target { block, attention, mlp };
// The update of the rows index_R (what `selected` is made of) by that part of `block`; keeps_kv: the others give keys and values, too. The
// MLP sees what attention adds weighted with inner_R; undefined: 1.
at::Tensor partial_delta(BlockImpl& block, Target target, bool keeps_kv, at::Tensor const& x_ND, Rows const& rows,
                         at::Tensor const& index_R, Rows const& selected, RotaryTables const& rotary, at::Tensor const& inner_R);
// The same when nobody is selected: x_ND as it is. While text is generated, kept keys and values are stored all the same.
at::Tensor keep_keys(BlockImpl& block, bool keeps_kv, at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary);
// Of a layer and its batch: int64 [routing_columns].
at::Tensor count_routing(RoutedLayer const& layer, bool keeps_kv);

struct RoutedBlockImpl : torch::nn::Module {
  RoutedBlockImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, double capacity);

  struct Result {
    at::Tensor x_ND;
    Route route;
    at::Tensor statistics_C;  // int64 [routing_columns]
  };
  // rows: all tokens of the batch, tokens_N their ids. replay_BT: as route() has it. noise_key: this layer's own.
  Result forward(at::Tensor const& x_ND, at::Tensor const& tokens_N, Rows const& rows, RotaryTables const& rotary, Routing routing,
                 at::Tensor const& replay_BT, uint64_t noise_key);

  Target target;
  bool keeps_kv;            // of skipped tokens
  double trained_capacity;  // as configured: what the running threshold stands for
  double capacity;          // of the next forward
  std::shared_ptr<BlockImpl> block;
  std::shared_ptr<RouterImpl> router;
  std::shared_ptr<SkipPathImpl> skip_path;  // null: identity
};

}  // namespace isobath
