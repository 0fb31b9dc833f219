#pragma once
// depth.kind: dense. Every token goes through every layer.

#include "model/depth/kind.h"

namespace isobath {

struct DenseModule : DepthModule {
  DenseModule(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size);
  std::unique_ptr<DepthPass> begin(ForwardContext const& context) override;

  int64_t layers;
};

}  // namespace isobath
