#pragma once
// What a routed layer has beside its block: a router, and perhaps a skip path. Only the tokens that the router selects go through the block
// (Raposo et al. 2024, section 3): x[idx] += g(r[idx]) * delta(x[idx]). Or only its attention or its MLP is routed: then the other half
// sees every token, and the router scores the input of the half that is routed.

#include <torch/nn/module.h>

#include "model/depth/mod/skip_path.h"
#include "model/depth/route.h"

namespace isobath {

struct RoutedLayerImpl : torch::nn::Module {
  RoutedLayerImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, double capacity);

  struct Result {
    at::Tensor x_ND;
    Route route;
  };
  // noise_key: this layer's own.
  Result forward(BlockImpl& block, at::Tensor const& x_ND, ForwardContext const& context, uint64_t noise_key, at::Tensor const& replay_BT);

  // The state that the router scores: the block's input, or after an attention that every token goes through.
  at::Tensor routed_input(BlockImpl& block, at::Tensor const& x_ND, ForwardContext const& context) const;

  void weights(std::string const& layer, WeightList& list) const;

  RoutedPart part;
  bool keeps_kv;            // of skipped tokens
  double trained_capacity;  // as configured: what the running threshold stands for
  double capacity;          // of the next forward
  std::shared_ptr<RouterImpl> router;
  std::shared_ptr<SkipPathImpl> skip_path;  // null: identity
};

}  // namespace isobath
