#pragma once
// GGUF, llama.cpp's file of a model: metadata, tensor infos, aligned little-endian tensors.

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "format/safetensors.h"

namespace isobath {

struct GgufValue;

struct GgufArray {
  uint32_t type = 0;  // of the values: their index in GgufScalar
  std::vector<GgufValue> values;
};

// The index of an alternative is its type number in the file.
using GgufScalar =
    std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float, bool, std::string, GgufArray, uint64_t, int64_t, double>;
struct GgufValue : GgufScalar {
  using GgufScalar::GgufScalar;
};
bool operator==(GgufValue const& a, GgufValue const& b);

template <typename T>
GgufValue gguf_array(std::vector<T> const& values) {
  return GgufArray{static_cast<uint32_t>(GgufScalar(T()).index()), {values.begin(), values.end()}};
}

using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;

// Writes version 3 with the default alignment of 32 bytes; fsynced, not renamed. Shapes are in the order of safetensors and torch: the file
// has them reversed. Throws Error(disk), and Error(checkpoint) for a tensor that the format cannot hold.
void write_gguf(fs::path const& path, std::vector<TensorView> const& tensors, GgufMetadata const& metadata);

// Maps the file and checks its header, metadata, shapes and offsets. Throws Error(checkpoint) saying what is wrong.
class GgufFile {
 public:
  explicit GgufFile(fs::path const& path);
  std::vector<TensorView> const& tensors() const { return tensors_; }  // dtype "F32", "Q8_0", ...: the names of ggml's types
  TensorView const* find(std::string const& name) const;               // nullptr when absent
  GgufMetadata const& metadata() const { return metadata_; }
  GgufValue const* find_metadata(std::string const& key) const;  // nullptr when absent

 private:
  MappedFile file_;
  std::vector<TensorView> tensors_;
  GgufMetadata metadata_;
};

}  // namespace isobath
