#include "model/weights.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <cstring>
#include <map>
#include <set>

#include "core/error.h"

namespace isobath {

namespace {

struct DtypeName {
  at::ScalarType type;
  char const* name;
};
constexpr DtypeName dtypes[] = {{at::kFloat, "F32"}, {at::kDouble, "F64"}, {at::kBFloat16, "BF16"}, {at::kHalf, "F16"},
                                {at::kLong, "I64"},  {at::kInt, "I32"},    {at::kShort, "I16"},     {at::kChar, "I8"},
                                {at::kByte, "U8"},   {at::kBool, "BOOL"}};

at::Tensor to_tensor(TensorView const& view) {
  for (auto const& dtype : dtypes) {
    if (view.dtype != dtype.name) continue;
    at::Tensor tensor = at::empty(view.shape, at::TensorOptions().dtype(dtype.type));
    std::memcpy(tensor.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
    return tensor;
  }
  throw Error(ExitCode::checkpoint, "tensor '" + view.name + "' has type " + view.dtype + ", which is not supported");
}

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace

std::string dtype_name(at::ScalarType type) {
  for (auto const& dtype : dtypes)
    if (dtype.type == type) return dtype.name;
  throw Error(ExitCode::checkpoint, std::string("tensors of type ") + c10::toString(type) + " cannot be stored in safetensors");
}

NamedTensors export_weights(LanguageModel const& model) {
  NamedTensors weights;
  for (NamedWeight const& stored : model.stored()) weights.emplace_back(stored.name, stored.tensor.cpu());
  return weights;
}

StoredWeights stored_weights(std::vector<TensorView> const& tensors, std::shared_ptr<void const> const& file) {
  StoredWeights weights;
  for (TensorView const& view : tensors)
    weights.push_back({view.name, view.shape, [view, file] {
                         at::Tensor const read = to_tensor(view);
                         forget_mapped(view.bytes);
                         return read;
                       }});
  return weights;
}

StoredWeights stored_weights(fs::path const& safetensors) {
  auto const file = std::make_shared<SafetensorsFile const>(safetensors);
  return stored_weights(file->tensors(), file);
}

namespace {

// Queries, keys and values share one update's inner matrix, and so do gate and up: the first of them that is there.
std::vector<std::string> names_of_inner_matrix(std::string const& part) {
  size_t const dot = part.rfind('.') + 1;
  std::string const layer = part.substr(0, dot), last = part.substr(dot);
  bool const attends = last == "q_proj" || last == "k_proj" || last == "v_proj";
  bool const gates = last == "gate_proj" || last == "up_proj";
  std::vector<std::string> names;
  if (attends || gates) names.push_back(layer + (attends ? "qkv_proj" : "gate_up_proj"));
  names.push_back(part);
  for (std::string& name : names) name += ".lora_down.weight";
  return names;
}

}  // namespace

StoredWeights merged_low_rank(StoredWeights const& weights) {
  std::map<std::string, StoredWeight const*> by_name;
  for (StoredWeight const& weight : weights) by_name[weight.name] = &weight;
  StoredWeights merged;
  for (StoredWeight const& weight : weights) {
    if (is_low_rank(weight.name)) continue;
    std::string const part = weight.name.substr(0, weight.name.rfind('.'));
    auto const up = by_name.find(part + ".lora_up.weight");
    if (up == by_name.end()) {
      merged.push_back(weight);
      continue;
    }
    StoredWeight const* down = nullptr;
    for (std::string const& name : names_of_inner_matrix(part))
      if (auto const found = by_name.find(name); !down && found != by_name.end()) down = found->second;
    if (!down) throw Error(ExitCode::checkpoint, up->first + " has no lora_down.weight beside it");
    auto const read = [matrix = weight.read, outer = up->second->read, inner = down->read] { return matrix().addmm_(outer(), inner()); };
    merged.push_back({weight.name, weight.shape, read});
  }
  return merged;
}

StoredWeights chosen_layers(StoredWeights const& weights, std::vector<int64_t> const& layers) {
  if (layers.empty()) return weights;
  std::string const prefix = "model.layers.";
  StoredWeights chosen;
  for (StoredWeight const& weight : weights) {
    if (!weight.name.starts_with(prefix)) {
      chosen.push_back(weight);
      continue;
    }
    size_t const end = weight.name.find('.', prefix.size());
    int64_t const layer = std::stoll(weight.name.substr(prefix.size(), end - prefix.size()));
    for (size_t place = 0; place < layers.size(); ++place) {
      if (layers[place] != layer) continue;
      StoredWeight& moved = chosen.emplace_back(weight);
      moved.name = prefix + std::to_string(place) + weight.name.substr(end);
    }
  }
  return chosen;
}

std::vector<std::string> import_weights(LanguageModel& model, StoredWeights const& weights, bool additions_may_lack) {
  at::NoGradGuard no_grad;
  std::map<std::string, StoredWeight const*> stored;
  for (StoredWeight const& weight : weights) stored[weight.name] = &weight;
  std::vector<NamedWeight> const wanted = model.stored();
  std::set<std::string> names, optional;
  if (additions_may_lack) {
    for (NamedWeight const& weight : model.depth_weights().stored) optional.insert(weight.name);
    for (NamedWeight const& weight : wanted)
      if (is_low_rank(weight.name)) optional.insert(weight.name);
  }
  std::vector<std::string> kept;
  std::string problems;
  for (NamedWeight const& weight : wanted) {
    names.insert(weight.name);
    auto const found = stored.find(weight.name);
    if (found != stored.end()) {
      at::IntArrayRef const shape(found->second->shape);
      if (shape != weight.tensor.sizes())
        problems += "\n  " + weight.name + " has shape " + shape_text(shape) + ", the model needs " + shape_text(weight.tensor.sizes());
    } else if (optional.contains(weight.name)) {
      kept.push_back(weight.name);
    } else if (!weight.optional) {
      problems += "\n  missing: " + weight.name;
    }
  }
  for (StoredWeight const& weight : weights)
    if (!names.contains(weight.name)) problems += "\n  unknown: " + weight.name;
  if (!problems.empty()) throw Error(ExitCode::checkpoint, "the weights do not fit the model:" + problems);
  for (NamedWeight const& weight : wanted) {
    if (auto const found = stored.find(weight.name); found != stored.end())
      at::Tensor(weight.tensor).copy_(found->second->read());
    else if (!optional.contains(weight.name))
      at::Tensor(weight.tensor).fill_(weight.init_value);
  }
  return kept;
}

TensorViews view_tensors(NamedTensors const& tensors) {
  TensorViews result;
  for (auto const& [name, tensor] : tensors) {
    result.alive.push_back(tensor.detach().cpu().contiguous());
    at::Tensor const& last = result.alive.back();
    result.views.push_back({name,
                            dtype_name(last.scalar_type()),
                            last.sizes().vec(),
                            {static_cast<std::byte const*>(last.const_data_ptr()), static_cast<size_t>(last.nbytes())}});
  }
  return result;
}

void write_tensors(fs::path const& path, NamedTensors const& tensors, Metadata const& metadata) {
  write_safetensors(path, view_tensors(tensors).views, metadata);
}

at::Tensor read_tensor(SafetensorsFile const& file, std::string const& name) {
  TensorView const* view = file.find(name);
  if (!view) throw Error(ExitCode::checkpoint, "tensor '" + name + "' is missing");
  return to_tensor(*view);
}

}  // namespace isobath
