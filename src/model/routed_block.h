#pragma once
// A block that only some tokens go through (Raposo et al. 2024, section 3): x[idx] += g(r[idx]) * delta(x[idx]). Or only its attention or
// its MLP is such: then the other half sees every token, and the router scores the input of the half that is routed.

#include <torch/nn/module.h>

#include "model/language_model.h"
#include "nn/layers.h"
#include "nn/router.h"

namespace isobath {

struct RoutedBlockImpl : torch::nn::Module {
  RoutedBlockImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, double capacity);

  struct Result {
    at::Tensor x_ND;
    RoutedLayer layer;          // who went through the block, and why
    at::Tensor router_loss;     // sum over tokens, undefined without bce
    at::Tensor predictor_loss;  // sum over tokens, undefined without predictor
    at::Tensor z_loss;          // sum over tokens, undefined without z-loss
    at::Tensor statistics_C;    // int64 [routing_columns]
  };
  // rows: all tokens of the batch, tokens_N their ids. noise_key: this layer's own.
  Result forward(at::Tensor const& x_ND, at::Tensor const& tokens_N, Rows const& rows, RotaryTables const& rotary, Routing routing,
                 uint64_t noise_key);

  enum class Target { block, attention, mlp } target;
  bool keeps_kv;            // of skipped tokens
  double trained_capacity;  // as configured: what the running threshold stands for
  double capacity;          // of the next forward
  std::shared_ptr<BlockImpl> block;
  std::shared_ptr<RouterImpl> router;
  std::shared_ptr<SkipPathImpl> skip_path;  // null: identity

 private:
  at::Tensor decide(at::Tensor const& logit_N) const;  // bool
  at::Tensor routed_delta(at::Tensor const& x_ND, Rows const& rows, at::Tensor const& index_R, Rows const& selected,
                          RotaryTables const& rotary);
};

}  // namespace isobath
