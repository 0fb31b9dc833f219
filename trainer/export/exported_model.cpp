#include "trainer/export/exported_model.h"

#include <cstring>
#include <map>

#include "core/error.h"
#include "format/floats.h"

namespace isobath {

void check_other_programs_know(ModelConfig const& model) {
  if (model.mlp == MlpKind::swiglu) return;
  throw Error(ExitCode::config,
              "model.mlp is " + std::string(model.mlp.name()) +
                  ": neither transformers nor llama.cpp has a model with Llama's attention and norms and this MLP. --format hf writes a "
                  "Hugging Face folder with code of its own, --format safetensors takes any model");
}

void EncodedTensors::add(TensorView const& f32, std::string const& dtype) {
  std::span<float const> const values(reinterpret_cast<float const*>(f32.bytes.data()), f32.bytes.size() / sizeof(float));
  try {
    bytes.push_back(encode_floats(values, dtype));
  } catch (Error const& error) {
    throw Error(error.code(),
                "tensor '" + f32.name + "' cannot be written as " + dtype + ": " + error.what() + "; --dtype bf16 or f32 can");
  }
  views.push_back({f32.name, dtype, f32.shape, bytes.back()});
}

void check_read_back(fs::path const& path, std::vector<TensorView> const& written, std::vector<TensorView> const& read) {
  auto const complain = [&](std::string const& what) {
    throw Error(ExitCode::disk, path.string() + ": read back, " + what + " than what was written; is the disk damaged?");
  };
  std::map<std::string, TensorView const*> found;
  for (TensorView const& tensor : read) found[tensor.name] = &tensor;
  if (found.size() != written.size()) complain("it has another number of tensors (" + std::to_string(found.size()) + ")");
  for (TensorView const& tensor : written) {
    TensorView const* other = found.contains(tensor.name) ? found.at(tensor.name) : nullptr;
    bool const same = other && other->dtype == tensor.dtype && other->shape == tensor.shape && other->bytes.size() == tensor.bytes.size() &&
                      std::memcmp(other->bytes.data(), tensor.bytes.data(), tensor.bytes.size()) == 0;
    if (!same) complain("tensor '" + tensor.name + "' is another");
  }
}

}  // namespace isobath
