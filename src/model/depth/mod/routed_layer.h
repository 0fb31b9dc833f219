#pragma once
// What a routed layer has beside its block: a router, and perhaps a skip path. Only the tokens that the router selects go through the block
// (Raposo et al. 2024, section 3): x[idx] += g(r[idx]) * delta(x[idx]). Where depth.target is attention or mlp, only that half of the block
// is routed: the other half runs for every token, and the router scores the input of the routed half.

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
  // noise_key: key of this layer's random numbers. replay_BT: this layer's entry of ModelInput::replay_BT, or undefined.
  Result forward(BlockImpl& block, at::Tensor const& x_ND, ForwardContext const& context, uint64_t noise_key, at::Tensor const& replay_BT);

  // The hidden states that the router scores: the block's input or, where only the MLP is routed, the hidden states behind attention.
  at::Tensor routed_input(BlockImpl& block, at::Tensor const& x_ND, ForwardContext const& context) const;

  void weights(std::string const& layer, WeightList& list) const;

  RoutedPart part;
  bool keeps_kv;            // skipped tokens still give keys and values
  double trained_capacity;  // as configured; the running threshold follows this capacity
  double capacity;          // used by the next forward pass
  std::shared_ptr<RouterImpl> router;
  std::shared_ptr<SkipPathImpl> skip_path;  // null: identity
};

}  // namespace isobath
