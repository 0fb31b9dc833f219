#include "format/safetensors.h"

#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  SafetensorsFile const opened(file("model.safetensors", input));
  size_t bytes = 0;
  for (TensorView const& tensor : opened.tensors()) bytes += tensor.bytes.size();
  require(bytes <= input.size(), "tensors lie in the file");
}
