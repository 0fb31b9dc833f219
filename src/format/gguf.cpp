#include "format/gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <set>

#include "core/error.h"

namespace isobath {
namespace {

constexpr std::string_view gguf_magic = "GGUF";
constexpr uint32_t gguf_version = 3;
constexpr uint64_t default_alignment = 32;
constexpr size_t longest_name = 63, most_dimensions = 4;
constexpr int deepest_array = 8;

// ggml's tensor types: blocks of `values` values take `bytes` bytes.
struct TensorType {
  uint32_t number;
  char const* name;
  uint64_t values, bytes;
};
constexpr TensorType tensor_types[] = {{0, "F32", 1, 4},       {1, "F16", 1, 2},       {2, "Q4_0", 32, 18},    {3, "Q4_1", 32, 20},
                                       {6, "Q5_0", 32, 22},    {7, "Q5_1", 32, 24},    {8, "Q8_0", 32, 34},    {10, "Q2_K", 256, 84},
                                       {11, "Q3_K", 256, 110}, {12, "Q4_K", 256, 144}, {13, "Q5_K", 256, 176}, {14, "Q6_K", 256, 210},
                                       {24, "I8", 1, 1},       {25, "I16", 1, 2},      {26, "I32", 1, 4},      {27, "I64", 1, 8},
                                       {28, "F64", 1, 8},      {30, "BF16", 1, 2}};

// Bytes of a tensor; nullopt when its rows are no whole blocks, on a negative dimension and on overflow.
std::optional<uint64_t> tensor_bytes(TensorType const& type, std::vector<int64_t> const& shape) {
  if (shape.empty() || shape.back() < 0 || static_cast<uint64_t>(shape.back()) % type.values != 0) return std::nullopt;
  uint64_t total = type.bytes;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0) return std::nullopt;
    uint64_t const size = static_cast<uint64_t>(shape[i]) / (i + 1 == shape.size() ? type.values : 1);
    if (size != 0 && total > std::numeric_limits<uint64_t>::max() / 2 / size) return std::nullopt;
    total *= size;
  }
  return total;
}

uint64_t padded(uint64_t size, uint64_t alignment) { return (size + alignment - 1) / alignment * alignment; }

// ---- writing

template <typename T>
void put_raw(std::string& out, T const& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    put_raw(out, static_cast<uint64_t>(value.size()));
    out += value;
  } else if constexpr (std::is_same_v<T, GgufArray>) {
    put_raw(out, value.type);
    put_raw(out, static_cast<uint64_t>(value.values.size()));
    for (GgufValue const& each : value.values) std::visit([&](auto const& v) { put_raw(out, v); }, static_cast<GgufScalar const&>(each));
  } else {
    out.append(reinterpret_cast<char const*>(&value), sizeof value);
  }
}

TensorType const& writable_type(TensorView const& tensor) {
  auto const found = std::find_if(std::begin(tensor_types), std::end(tensor_types), [&](auto const& t) { return tensor.dtype == t.name; });
  bool const fits = found != std::end(tensor_types) && tensor_bytes(*found, tensor.shape) == std::optional<uint64_t>(tensor.bytes.size());
  if (!fits || tensor.name.size() > longest_name || tensor.shape.size() > most_dimensions) {
    throw Error(ExitCode::checkpoint, "GGUF cannot hold tensor '" + tensor.name + "' of dtype " + tensor.dtype + ", " +
                                          std::to_string(tensor.shape.size()) + " dimensions and " + std::to_string(tensor.bytes.size()) +
                                          " bytes");
  }
  return *found;
}

// ---- reading

[[noreturn]] void damaged_gguf(fs::path const& path, std::string const& what) {
  throw Error(ExitCode::checkpoint, path.string() + " is no whole GGUF file: " + what);
}

class Cursor {
 public:
  Cursor(std::span<std::byte const> bytes, fs::path const& path) : bytes_(bytes), path_(path) {}

  template <typename T>
  T take() {
    if constexpr (std::is_same_v<T, std::string>) {
      auto const bytes = take_bytes(take<uint64_t>());
      return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
    } else if constexpr (std::is_same_v<T, bool>) {
      return take<uint8_t>() != 0;
    } else {
      T value;
      std::memcpy(&value, take_bytes(sizeof value).data(), sizeof value);
      return value;
    }
  }
  GgufValue take_value(uint32_t type, int depth = 0) {
    if (type == GgufScalar(GgufArray()).index()) return take_array(depth);
    if (type >= std::variant_size_v<GgufScalar>) damaged_gguf(path_, "a value has the unknown type " + std::to_string(type));
    return take_scalar(type, std::make_index_sequence<std::variant_size_v<GgufScalar>>());
  }
  size_t position() const { return position_; }

 private:
  std::span<std::byte const> take_bytes(uint64_t count) {
    if (count > bytes_.size() - position_) {
      damaged_gguf(path_, "it ends at byte " + std::to_string(bytes_.size()) + ", where " + std::to_string(count) + " more than " +
                              std::to_string(position_) + " are needed (is the file cut short?)");
    }
    position_ += count;
    return bytes_.subspan(position_ - count, count);
  }
  GgufArray take_array(int depth) {
    if (depth > deepest_array) damaged_gguf(path_, "arrays are nested deeper than " + std::to_string(deepest_array));
    GgufArray array{take<uint32_t>(), {}};
    auto const count = take<uint64_t>();
    if (count > bytes_.size() - position_) damaged_gguf(path_, "an array claims " + std::to_string(count) + " values");
    for (uint64_t i = 0; i < count; ++i) array.values.push_back(take_value(array.type, depth + 1));
    return array;
  }
  template <size_t... I>
  GgufValue take_scalar(uint32_t type, std::index_sequence<I...>) {
    GgufValue value;
    auto const take_if = [&]<size_t i>() {
      using T = std::variant_alternative_t<i, GgufScalar>;
      if constexpr (!std::is_same_v<T, GgufArray>) {
        if (type == i) static_cast<GgufScalar&>(value).template emplace<i>(take<T>());
      }
    };
    (take_if.template operator()<I>(), ...);
    return value;
  }

  std::span<std::byte const> bytes_;
  fs::path const& path_;
  size_t position_ = 0;
};

struct TensorInfo {
  std::string name;
  std::vector<int64_t> shape;
  TensorType type;
  uint64_t offset = 0, size = 0;
};

TensorInfo take_info(Cursor& cursor, fs::path const& path) {
  TensorInfo info;
  info.name = cursor.take<std::string>();
  auto const complain = [&](std::string const& what) { damaged_gguf(path, "tensor '" + info.name + "' " + what); };
  auto const dimensions = cursor.take<uint32_t>();
  if (dimensions == 0 || dimensions > most_dimensions) complain("has " + std::to_string(dimensions) + " dimensions");
  for (uint32_t i = 0; i < dimensions; ++i) info.shape.insert(info.shape.begin(), cursor.take<int64_t>());
  auto const number = cursor.take<uint32_t>();
  auto const found = std::find_if(std::begin(tensor_types), std::end(tensor_types), [&](auto const& t) { return t.number == number; });
  if (found == std::end(tensor_types)) complain("has the unknown type " + std::to_string(number));
  info.type = *found;
  info.offset = cursor.take<uint64_t>();
  auto const size = tensor_bytes(info.type, info.shape);
  if (!size) complain("has a shape that type " + std::string(info.type.name) + " cannot have");
  info.size = *size;
  return info;
}

uint64_t alignment_of(GgufValue const* value, fs::path const& path) {
  if (!value) return default_alignment;
  auto const* number = std::get_if<uint32_t>(static_cast<GgufScalar const*>(value));
  if (!number || *number == 0 || *number % 8 != 0) damaged_gguf(path, "general.alignment is no multiple of 8");
  return *number;
}

}  // namespace

bool operator==(GgufValue const& a, GgufValue const& b) {
  auto const *left = std::get_if<GgufArray>(static_cast<GgufScalar const*>(&a)),
             *right = std::get_if<GgufArray>(static_cast<GgufScalar const*>(&b));
  if (left && right) return left->type == right->type && left->values == right->values;
  if (a.index() != b.index()) return false;
  return std::visit(
      [&]<typename T>(T const& value) {
        if constexpr (std::is_same_v<T, GgufArray>)
          return false;  // both were arrays above
        else
          return value == std::get<T>(static_cast<GgufScalar const&>(b));
      },
      static_cast<GgufScalar const&>(a));
}

void write_gguf(fs::path const& path, std::vector<TensorView> const& tensors, GgufMetadata const& metadata) {
  std::string head(gguf_magic);
  put_raw(head, gguf_version);
  put_raw(head, static_cast<uint64_t>(tensors.size()));
  put_raw(head, static_cast<uint64_t>(metadata.size()));
  for (auto const& [key, value] : metadata) {
    put_raw(head, key);
    put_raw(head, static_cast<uint32_t>(value.index()));
    std::visit([&](auto const& v) { put_raw(head, v); }, static_cast<GgufScalar const&>(value));
  }
  uint64_t offset = 0;
  for (TensorView const& tensor : tensors) {
    TensorType const& type = writable_type(tensor);
    put_raw(head, tensor.name);
    put_raw(head, static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) put_raw(head, static_cast<uint64_t>(*size));
    put_raw(head, type.number);
    put_raw(head, offset);
    offset += padded(tensor.bytes.size(), default_alignment);
  }
  FileWriter file(path);
  auto const pad = [&](uint64_t size) { file.write(std::string(padded(size, default_alignment) - size, '\0')); };
  file.write(head);
  pad(head.size());
  for (TensorView const& tensor : tensors) {
    file.write(tensor.bytes);
    pad(tensor.bytes.size());
  }
  file.finish();
}

GgufFile::GgufFile(fs::path const& path)
    : file_([&] {
        try {
          return MappedFile(path);
        } catch (Error const& error) {
          throw Error(ExitCode::checkpoint, error.what());
        }
      }()) {
  Cursor cursor(file_.bytes(), path);
  char start[4];
  for (char& c : start) c = cursor.take<char>();
  if (std::string_view(start, 4) != gguf_magic) damaged_gguf(path, "it does not start with 'GGUF'");
  auto const found = cursor.take<uint32_t>();
  if (found != gguf_version && found != 2) damaged_gguf(path, "its version is " + std::to_string(found) + "; 2 and 3 can be read");
  auto const tensors = cursor.take<uint64_t>(), pairs = cursor.take<uint64_t>();
  std::set<std::string> seen;
  for (uint64_t i = 0; i < pairs; ++i) {
    std::string const key = cursor.take<std::string>();
    if (!seen.insert(key).second) damaged_gguf(path, "the metadata '" + key + "' are listed twice");
    metadata_.emplace_back(key, cursor.take_value(cursor.take<uint32_t>()));
  }
  seen.clear();
  std::vector<TensorInfo> infos;
  for (uint64_t i = 0; i < tensors; ++i) {
    infos.push_back(take_info(cursor, path));
    if (!seen.insert(infos.back().name).second) damaged_gguf(path, "tensor '" + infos.back().name + "' is listed twice");
  }
  uint64_t const alignment = alignment_of(find_metadata("general.alignment"), path), begin = padded(cursor.position(), alignment);
  uint64_t expected = 0;
  for (TensorInfo const& info : infos) {
    if (info.offset != expected)
      damaged_gguf(path, "tensor '" + info.name + "' starts at " + std::to_string(info.offset) + ", expected " + std::to_string(expected));
    if (info.size > file_.bytes().size() || begin + info.offset > file_.bytes().size() - info.size)
      damaged_gguf(path, "tensor '" + info.name + "' ends behind the end of the file (is it cut short?)");
    tensors_.push_back({info.name, info.type.name, info.shape, file_.bytes().subspan(begin + info.offset, info.size)});
    expected += padded(info.size, alignment);
  }
}

TensorView const* GgufFile::find(std::string const& name) const {
  auto const found = std::find_if(tensors_.begin(), tensors_.end(), [&](TensorView const& t) { return t.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

GgufValue const* GgufFile::find_metadata(std::string const& key) const {
  auto const found = std::find_if(metadata_.begin(), metadata_.end(), [&](auto const& pair) { return pair.first == key; });
  return found == metadata_.end() ? nullptr : &found->second;
}

}  // namespace isobath
