#include "model/block.h"

#include <ATen/TensorOperators.h>

namespace isobath {

BlockImpl::BlockImpl(ModelConfig const& config) {
  attention = register_module("attention", std::make_shared<AttentionImpl>(config));
  mlp = register_module("mlp", std::make_shared<MlpImpl>(config));
}

at::Tensor BlockImpl::forward(at::Tensor const& x_RD, Rows const& rows, RotaryTables const& rotary) {
  at::Tensor const h_RD = x_RD + attention->forward(x_RD, rows, rotary);
  return h_RD + mlp->forward(h_RD);
}

at::Tensor BlockImpl::forward_without(RoutedPart part, at::Tensor const& x_RD, Rows const& rows, RotaryTables const& rotary) {
  if (part == RoutedPart::block) return x_RD;
  if (part == RoutedPart::mlp) return x_RD + attention->forward(x_RD, rows, rotary);
  return x_RD + mlp->forward(x_RD);
}

void BlockImpl::weights(std::string const& layer, InitialStd const& init, WeightList& list) const {
  attention->weights(layer, init, list);
  mlp->weights(layer, init, list);
}

}  // namespace isobath
