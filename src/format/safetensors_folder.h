#pragma once
// Weights in a folder, named as Hugging Face names them: model.safetensors, or parts listed in model.safetensors.index.json.

#include <memory>

#include "format/safetensors.h"

namespace isobath {

// Writes parts of at most `part_bytes` bytes of tensors (one tensor may be larger), or model.safetensors where they fit into one.
void write_safetensors_folder(fs::path const& folder, std::vector<TensorView> const& tensors, Metadata const& metadata,
                              uint64_t part_bytes);

// Opens all parts and checks that they hold what the index lists, and nothing else. Throws Error(checkpoint).
class SafetensorsFolder {
 public:
  explicit SafetensorsFolder(fs::path const& folder);
  std::vector<TensorView> const& tensors() const { return tensors_; }
  size_t files() const { return files_.size(); }

 private:
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<TensorView> tensors_;
};

}  // namespace isobath
