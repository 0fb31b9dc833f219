#pragma once
// Parameters as optimizers hold them.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace isobath {

// Elements [first, first + numel) of the flattened tensor `name` of this shape: mostly all of it.
struct TensorPart {
  std::string name;
  std::vector<int64_t> shape;
  int64_t first = 0;
  at::Tensor values;  // shares memory with the tensor
};

inline TensorPart whole_tensor(std::string name, at::Tensor const& tensor) { return {std::move(name), tensor.sizes().vec(), 0, tensor}; }

// Parameters that are treated alike.
struct ParameterGroup {
  std::vector<TensorPart> parameters;
  double weight_decay = 0;
  double lr_factor = 1;  // multiplies the learning rate of a step
  std::optional<at::ScalarType> compute_type =
      {};  // to which every use of the parameters rounds them; nothing: some use needs them in full
};

}  // namespace isobath
