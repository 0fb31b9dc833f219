#pragma once
// A model on its way to another program: its weights as the numbers that the other program wants, and whether they arrived.

#include <optional>
#include <string>
#include <vector>

#include "config/sections/model.h"
#include "core/files.h"
#include "data/tokenizer/tokenizer.h"
#include "format/safetensors.h"
#include "trainer/export/model_code.h"

namespace isobath {

struct ExportedModel {
  std::string name;
  ModelConfig model;                // with every `auto` resolved
  std::vector<TensorView> weights;  // F32, under the names of docs/formats.md
  Tokenizer const* tokenizer = nullptr;
  DepthConfig depth;              // with every `auto` resolved
  std::optional<ModelCode> code;  // of a folder with code; without it the model must be dense
};

// Throws Error(config) for a dense model that no class of transformers and llama.cpp computes as it is.
void check_other_programs_know(ModelConfig const& model);

// Tensors that own their bytes.
struct EncodedTensors {
  std::vector<std::vector<std::byte>> bytes;
  std::vector<TensorView> views;
  void add(TensorView const& f32, std::string const& dtype);  // encoded as `dtype`. Throws Error(config) where a value does not fit
};

// Compares what was read back from `path` with what was to be written. Throws Error(disk) naming the first difference.
void check_read_back(fs::path const& path, std::vector<TensorView> const& written, std::vector<TensorView> const& read);

}  // namespace isobath
