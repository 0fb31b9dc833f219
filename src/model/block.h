#pragma once
#include <torch/nn/module.h>

#include "nn/attention/attention.h"
#include "nn/mlp.h"

namespace isobath {

// One pre-norm transformer block.
struct BlockImpl : torch::nn::Module {
  explicit BlockImpl(ModelConfig const& config);
  at::Tensor forward(at::Tensor const& x_RD, Rows const& rows, RotaryTables const& rotary);
  at::Tensor forward_without(RoutedPart part, at::Tensor const& x_RD, Rows const& rows, RotaryTables const& rotary);
  void weights(std::string const& layer, InitialStd const& init, WeightList& list) const;  // layer: "model.layers.3."

  std::shared_ptr<AttentionImpl> attention;
  std::shared_ptr<MlpImpl> mlp;
};

}  // namespace isobath
