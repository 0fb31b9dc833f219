#include "format/safetensors_folder.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

constexpr char const* single_file = "model.safetensors";
constexpr char const* index_file = "model.safetensors.index.json";

std::string part_name(size_t part, size_t parts) {
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", part + 1, parts);
  return name;
}

[[noreturn]] void damaged_folder(fs::path const& path, std::string const& what) {
  throw Error(ExitCode::checkpoint, path.string() + ": " + what);
}

}  // namespace

void write_safetensors_folder(fs::path const& folder, std::vector<TensorView> const& tensors, Metadata const& metadata,
                              uint64_t part_bytes) {
  std::vector<std::vector<TensorView>> parts(1);
  uint64_t total = 0, in_part = 0;
  for (TensorView const& tensor : tensors) {
    if (!parts.back().empty() && in_part + tensor.bytes.size() > part_bytes) {
      parts.emplace_back();
      in_part = 0;
    }
    parts.back().push_back(tensor);
    in_part += tensor.bytes.size();
    total += tensor.bytes.size();
  }
  if (parts.size() == 1) return write_safetensors(folder / single_file, tensors, metadata);
  Json map = Json::object();
  for (size_t i = 0; i < parts.size(); ++i) {
    std::string const name = part_name(i, parts.size());
    write_safetensors(folder / name, parts[i], metadata);
    for (TensorView const& tensor : parts[i]) map[tensor.name] = name;
  }
  Json const index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  write_file_atomic(folder / index_file, index.dump(2) + "\n");
}

SafetensorsFolder::SafetensorsFolder(fs::path const& folder) {
  if (fs::exists(folder / single_file)) {
    files_.push_back(std::make_unique<SafetensorsFile>(folder / single_file));
    tensors_ = files_.back()->tensors();
    return;
  }
  fs::path const path = folder / index_file;
  if (!fs::exists(path)) damaged_folder(folder, std::string("has neither ") + single_file + " nor " + index_file);
  Json const index = Json::parse(read_file(path), nullptr, false);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) damaged_folder(path, "has no weight_map");
  std::map<std::string, std::string> wanted;  // tensor -> file
  std::map<std::string, SafetensorsFile const*> opened;
  for (auto const& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos)
      damaged_folder(path, "tensor '" + tensor + "' is in no file of this folder");
    wanted[tensor] = file.get<std::string>();
    if (opened.contains(wanted[tensor])) continue;
    files_.push_back(std::make_unique<SafetensorsFile>(folder / wanted[tensor]));
    opened[wanted[tensor]] = files_.back().get();
  }
  for (auto const& [name, file] : opened) {
    for (TensorView const& tensor : file->tensors()) {
      auto const found = wanted.find(tensor.name);
      if (found == wanted.end() || found->second != name)
        damaged_folder(path, "tensor '" + tensor.name + "' of " + name + " is not listed");
      tensors_.push_back(tensor);
      wanted.erase(found);
    }
  }
  if (!wanted.empty()) damaged_folder(path, "tensor '" + wanted.begin()->first + "' is not in " + wanted.begin()->second);
}

}  // namespace isobath
