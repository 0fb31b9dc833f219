#include "format/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>

#include "core/error.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little, "safetensors data are little-endian and mapped as they are");

constexpr size_t alignment = 64;
constexpr size_t largest_header = 100'000'000;  // as in the reference implementation

// 0: unknown.
size_t bytes_of_dtype(std::string const& dtype) {
  static std::map<std::string, size_t> const sizes{{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
                                                   {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},
                                                   {"I32", 4},  {"F32", 4}, {"U64", 8}, {"I64", 8},     {"F64", 8}};
  auto const found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

// Elements times `item`; nullopt on a negative dimension or overflow.
std::optional<size_t> bytes_of_shape(std::vector<int64_t> const& shape, size_t item) {
  if (std::any_of(shape.begin(), shape.end(), [](int64_t size) { return size < 0; })) return std::nullopt;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  size_t total = item;
  for (int64_t const size : shape) {
    if (total > std::numeric_limits<size_t>::max() / static_cast<size_t>(size)) return std::nullopt;
    total *= static_cast<size_t>(size);
  }
  return total;
}

std::string shape_text(std::vector<int64_t> const& shape) {
  std::string text = "[";
  for (int64_t const size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

[[noreturn]] void damaged(fs::path const& path, std::string const& what) {
  throw Error(ExitCode::checkpoint, path.string() + " is no whole safetensors file: " + what);
}

// JSON objects may repeat a key and nlohmann keeps one of them silently: here a repeated key means a damaged file.
Json parse_header(std::string_view text, fs::path const& path) {
  std::set<std::string> seen;
  std::string repeated;
  auto const notice = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth == 1 && event == Json::parse_event_t::key && !seen.insert(value.get<std::string>()).second) {
      repeated = value.get<std::string>();
    }
    return true;
  };
  Json header = Json::parse(text, notice, /*allow_exceptions=*/false);
  if (header.is_discarded() || !header.is_object()) damaged(path, "its header is not a JSON object");
  if (!repeated.empty()) damaged(path, "tensor '" + repeated + "' is listed twice");
  return header;
}

bool is_count_list(Json const& value) {
  return value.is_array() && std::all_of(value.begin(), value.end(), [](Json const& v) { return v.is_number_unsigned(); });
}

TensorView read_entry(std::string const& name, Json const& entry, std::span<std::byte const> data, fs::path const& path) {
  auto const complain = [&](std::string const& what) { damaged(path, "tensor '" + name + "' " + what); };
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string()) complain("has no dtype");
  if (!entry.contains("shape") || !is_count_list(entry["shape"])) complain("has no shape");
  if (!entry.contains("data_offsets") || !is_count_list(entry["data_offsets"]) || entry["data_offsets"].size() != 2) {
    complain("has no pair of data_offsets");
  }
  TensorView view{name, entry["dtype"].get<std::string>(), entry["shape"].get<std::vector<int64_t>>(), {}};
  auto const begin = entry["data_offsets"][0].get<uint64_t>(), end = entry["data_offsets"][1].get<uint64_t>();
  if (begin > end || end > data.size()) {
    complain("ends at byte " + std::to_string(end) + " of the data, which have " + std::to_string(data.size()) +
             " (is the file cut short?)");
  }
  size_t const item = bytes_of_dtype(view.dtype);
  if (item == 0) complain("has the unknown dtype '" + view.dtype + "'");
  if (bytes_of_shape(view.shape, item) != std::optional<size_t>(end - begin)) {
    complain("of dtype " + view.dtype + " and shape " + shape_text(view.shape) + " has " + std::to_string(end - begin) + " bytes");
  }
  view.bytes = data.subspan(begin, end - begin);
  return view;
}

// Every byte of the data belongs to exactly one tensor.
void check_cover(std::vector<TensorView> const& tensors, std::span<std::byte const> data, fs::path const& path) {
  std::vector<TensorView const*> order;
  for (TensorView const& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](TensorView const* a, TensorView const* b) {
    return std::pair(a->bytes.data(), a->bytes.size()) < std::pair(b->bytes.data(), b->bytes.size());
  });
  size_t covered = 0;
  for (TensorView const* tensor : order) {
    auto const begin = static_cast<size_t>(tensor->bytes.data() - data.data());
    if (begin != covered) {
      damaged(path, "tensor '" + tensor->name + "' starts at byte " + std::to_string(begin) + " of the data, expected " +
                        std::to_string(covered));
    }
    covered += tensor->bytes.size();
  }
  if (covered != data.size()) {
    damaged(path, "tensors cover " + std::to_string(covered) + " of " + std::to_string(data.size()) + " bytes of data");
  }
}

// Where the tensors lie in the data, and the file's beginning up to the data.
struct Layout {
  std::vector<size_t> order, begins;  // tensors in the order of their data; where each begins
  size_t bytes = 0;
  std::string head;
};

// The format allows no gaps, so wide types go first (in the given order otherwise): then every tensor is aligned for its type.
Layout lay_out(std::vector<TensorPlace> const& tensors, Metadata const& metadata) {
  Layout layout;
  std::set<std::string> names{"__metadata__"};
  for (TensorPlace const& tensor : tensors)
    if (!names.insert(tensor.name).second) throw Error(ExitCode::checkpoint, "cannot write two tensors of the name '" + tensor.name + "'");
  layout.order.resize(tensors.size());
  std::iota(layout.order.begin(), layout.order.end(), size_t{0});
  std::stable_sort(layout.order.begin(), layout.order.end(),
                   [&](size_t a, size_t b) { return bytes_of_dtype(tensors[a].dtype) > bytes_of_dtype(tensors[b].dtype); });
  layout.begins.resize(tensors.size());
  for (size_t const i : layout.order) {
    layout.begins[i] = layout.bytes;
    layout.bytes += *bytes_of_shape(tensors[i].shape, bytes_of_dtype(tensors[i].dtype));
  }

  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (size_t i = 0; i < tensors.size(); ++i) {
    size_t const begin = layout.begins[i], end = begin + *bytes_of_shape(tensors[i].shape, bytes_of_dtype(tensors[i].dtype));
    header[tensors[i].name] = {{"dtype", tensors[i].dtype}, {"shape", tensors[i].shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);  // metadata may hold any bytes
  text.append((alignment - (sizeof(uint64_t) + text.size()) % alignment) % alignment, ' ');
  uint64_t const length = text.size();
  layout.head.assign(reinterpret_cast<char const*>(&length), sizeof length);
  layout.head += text;
  return layout;
}

}  // namespace

void write_safetensors(fs::path const& path, std::vector<TensorView> const& tensors, Metadata const& metadata) {
  std::vector<TensorPlace> places;
  for (TensorView const& tensor : tensors) {
    size_t const item = bytes_of_dtype(tensor.dtype);
    if (item == 0 || bytes_of_shape(tensor.shape, item) != std::optional<size_t>(tensor.bytes.size())) {
      throw Error(ExitCode::checkpoint, "cannot write tensor '" + tensor.name + "': " + std::to_string(tensor.bytes.size()) +
                                            " bytes do not fit dtype " + tensor.dtype + ", shape " + shape_text(tensor.shape));
    }
    places.push_back({tensor.name, tensor.dtype, tensor.shape});
  }
  Layout const layout = lay_out(places, metadata);
  FileWriter file(path);
  file.write(layout.head);
  for (size_t const i : layout.order) file.write(tensors[i].bytes);
  file.finish();
}

void reserve_safetensors(fs::path const& path, std::vector<TensorPlace> const& tensors, Metadata const& metadata) {
  Layout const layout = lay_out(tensors, metadata);
  FileWriter file(path);
  file.write(layout.head);
  file.finish();
  std::error_code error;
  fs::resize_file(path, layout.head.size() + layout.bytes, error);
  if (error) throw Error(ExitCode::disk, "cannot write " + path.string() + ": " + error.message());
}

SafetensorsFile::SafetensorsFile(fs::path const& path)
    : file_([&] {
        try {
          return MappedFile(path);
        } catch (Error const& error) {
          throw Error(ExitCode::checkpoint, error.what());
        }
      }()) {
  std::span<std::byte const> const bytes = file_.bytes();
  uint64_t length = 0;
  if (bytes.size() < sizeof length) damaged(path, "it has only " + std::to_string(bytes.size()) + " bytes");
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > largest_header || length > bytes.size() - sizeof length) {
    damaged(path, "its header claims " + std::to_string(length) + " bytes, the file has " + std::to_string(bytes.size()));
  }
  std::string_view const text(reinterpret_cast<char const*>(bytes.data()) + sizeof length, length);
  std::span<std::byte const> const data = bytes.subspan(sizeof length + length);
  Json const header = parse_header(text, path);
  for (auto const& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      tensors_.push_back(read_entry(name, entry, data, path));
      continue;
    }
    if (!entry.is_object()) damaged(path, "its __metadata__ is not an object");
    for (auto const& [key, value] : entry.items()) {
      if (!value.is_string()) damaged(path, "metadata '" + key + "' is not text");
      metadata_[key] = value.get<std::string>();
    }
  }
  check_cover(tensors_, data, path);
}

size_t SafetensorsFile::offset(TensorView const& tensor) const { return static_cast<size_t>(tensor.bytes.data() - file_.bytes().data()); }

TensorView const* SafetensorsFile::find(std::string const& name) const {
  auto const found = std::find_if(tensors_.begin(), tensors_.end(), [&](TensorView const& t) { return t.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

}  // namespace isobath
