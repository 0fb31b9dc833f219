#include "model/weights.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <cstring>
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

std::string dtype_name(at::ScalarType type) {
  for (auto const& dtype : dtypes)
    if (dtype.type == type) return dtype.name;
  throw Error(ExitCode::checkpoint, std::string("tensors of type ") + c10::toString(type) + " cannot be stored in safetensors");
}

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

NamedTensors export_weights(LanguageModel const& model) {
  NamedTensors weights;
  for (NamedWeight const& stored : model.stored()) weights.emplace_back(stored.name, stored.tensor.cpu());
  return weights;
}

void import_weights(LanguageModel& model, SafetensorsFile const& file) {
  at::NoGradGuard no_grad;
  std::vector<NamedWeight> const wanted = model.stored();
  std::string problems;
  std::set<std::string> names;
  for (auto const& stored : wanted) {
    names.insert(stored.name);
    TensorView const* view = file.find(stored.name);
    if (!view && stored.optional) continue;
    if (!view)
      problems += "\n  missing: " + stored.name;
    else if (at::IntArrayRef(view->shape) != stored.tensor.sizes())
      problems += "\n  " + stored.name + " has shape " + shape_text(view->shape) + ", the model needs " + shape_text(stored.tensor.sizes());
  }
  for (TensorView const& view : file.tensors())
    if (!names.contains(view.name)) problems += "\n  unknown: " + view.name;
  if (!problems.empty()) throw Error(ExitCode::checkpoint, "the weights do not fit the model:" + problems);
  for (auto const& stored : wanted) {
    TensorView const* view = file.find(stored.name);
    if (view)
      at::Tensor(stored.tensor).copy_(to_tensor(*view));
    else
      at::Tensor(stored.tensor).fill_(stored.init_value);
  }
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
