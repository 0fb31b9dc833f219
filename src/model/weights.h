#pragma once
// Exports and imports weights by name. Names and rotary layout are Hugging Face Llama's (model.layers.0.self_attn.q_proj.weight, ...);
// routers have names beside them (model.layers.1.router.weight, .router.threshold, .predictor.up.weight, ...). The model's fused tensors
// (qkv, gate_up) are split on export and joined on import.

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "format/safetensors.h"
#include "model/language_model.h"

namespace isobath {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

NamedTensors export_weights(LanguageModel const& model);  // parameters and buffers, copies or views on the CPU

// A tensor that lies somewhere else, under its name here.
struct StoredWeight {
  std::string name;
  std::vector<int64_t> shape;
  std::function<at::Tensor()> read;  // a copy on the CPU; valid as long as the StoredWeight
};
using StoredWeights = std::vector<StoredWeight>;
// `tensors` lie in a mapped file, which `file` keeps alive. Reading one leaves its pages of the file to the system again.
StoredWeights stored_weights(std::vector<TensorView> const& tensors, std::shared_ptr<void const> const& file);
StoredWeights stored_weights(fs::path const& safetensors);

// Merges LoRA updates into the matrices that they belong to: the weights of a plain model. Each sum is computed when the matrix is read.
StoredWeights merged_low_rank(StoredWeights const& weights);
// The same of a model with the layers `layers` of this one alone, in this order (0-based); empty: all.
StoredWeights chosen_layers(StoredWeights const& weights, std::vector<int64_t> const& layers);

// Loads every tensor by name. additions_may_lack: tensors of the depth module (routers, gates, factors) and updates of low rank that are
// not stored keep their initial values. Returns the names of those. Throws Error(checkpoint) listing missing, unknown and wrongly shaped
// ones.
std::vector<std::string> import_weights(LanguageModel& model, StoredWeights const& weights, bool additions_may_lack = false);

// Views for the files of src/format, and what keeps the viewed bytes alive.
struct TensorViews {
  std::vector<at::Tensor> alive;
  std::vector<TensorView> views;
};
TensorViews view_tensors(NamedTensors const& tensors);
void write_tensors(fs::path const& path, NamedTensors const& tensors, Metadata const& metadata);
std::string dtype_name(at::ScalarType type);  // "F32"; throws Error(checkpoint) for types that are not stored
at::Tensor read_tensor(SafetensorsFile const& file, std::string const& name);  // a copy. Throws Error(checkpoint) when absent.

}  // namespace isobath
