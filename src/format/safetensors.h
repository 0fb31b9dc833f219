#pragma once
// The safetensors format: 8-byte header length, JSON header, raw little-endian tensors.

#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

struct TensorView {
  std::string name;
  std::string dtype;  // "F32", "F64", "I64", "BF16", ...
  std::vector<int64_t> shape;
  std::span<std::byte const> bytes;
};

using Metadata = std::map<std::string, std::string>;

// Writes tensors in the given order, data aligned to 64 bytes; fsynced, not renamed (checkpoints rename whole folders). Throws Error(disk).
void write_safetensors(fs::path const& path, std::vector<TensorView> const& tensors, Metadata const& metadata);

// A tensor's place in a file whose bytes are written later.
struct TensorPlace {
  std::string name, dtype;
  std::vector<int64_t> shape;
};
// Writes the header of such a file and makes it as long as the tensors need; they read as zeros. Throws Error(disk).
void reserve_safetensors(fs::path const& path, std::vector<TensorPlace> const& tensors, Metadata const& metadata);

// Maps the file and checks header, names, dtypes, shapes and offsets (no overlap, no gap past the end). Throws Error(checkpoint) saying
// what is wrong.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(fs::path const& path);
  std::vector<TensorView> const& tensors() const { return tensors_; }
  TensorView const* find(std::string const& name) const;  // nullptr when absent
  Metadata const& metadata() const { return metadata_; }
  size_t offset(TensorView const& tensor) const;  // of its bytes in the file

 private:
  MappedFile file_;
  std::vector<TensorView> tensors_;
  Metadata metadata_;
};

}  // namespace isobath
