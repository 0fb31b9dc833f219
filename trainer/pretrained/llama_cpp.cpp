#include "trainer/pretrained/llama_cpp.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "format/gguf.h"
#include "format/llama_cpp_names.h"
#include "format/quantised.h"
#include "trainer/pretrained/hugging_face.h"

namespace isobath {
namespace {

// The metadata of one architecture, and what in the file does not fit.
class MetadataReader {
 public:
  explicit MetadataReader(GgufFile const& file) : file_(file) {
    auto const* name = find<std::string>("general.architecture");
    architecture = name ? *name : "";
  }

  // The number under "ARCHITECTURE.key"; `otherwise` where it is missing. Whole numbers have different types in different files.
  double number(std::string const& key, double otherwise) {
    GgufValue const* const value = file_.find_metadata(architecture + "." + key);
    if (!value) return otherwise;
    double found = std::nan("");
    std::visit(
        [&]<typename T>(T const& one) {
          if constexpr (std::is_arithmetic_v<T>) found = static_cast<double>(one);
        },
        static_cast<GgufScalar const&>(*value));
    refuse_if(std::isnan(found), architecture + "." + key + " is no single number");
    return std::isnan(found) ? otherwise : found;
  }

  int64_t size(std::string const& key, int64_t otherwise = 0) {
    double const found = number(key, static_cast<double>(otherwise));
    refuse_if(found < 1, architecture + "." + key + " is missing or not positive");
    return std::max<int64_t>(1, static_cast<int64_t>(found));
  }

  std::string text(std::string const& key, std::string const& otherwise) const {
    auto const* found = find<std::string>(architecture + "." + key);
    return found ? *found : otherwise;
  }

  void refuse_if(bool wrong, std::string const& what) {
    if (wrong) problems += "\n  " + what;
  }

  std::string architecture, problems;

 private:
  template <typename T>
  T const* find(std::string const& key) const {
    GgufValue const* const value = file_.find_metadata(key);
    return value ? std::get_if<T>(static_cast<GgufScalar const*>(value)) : nullptr;
  }

  GgufFile const& file_;
};

// The decimal number that a 32-bit number stands for: 1e-5 is 9.99999974e-06 in the file.
double as_written(double value) { return std::stod(fmt::format("{}", static_cast<float>(value))); }

ModelConfig read_model(GgufFile const& file, MetadataReader& metadata) {
  std::string const& architecture = metadata.architecture;
  metadata.refuse_if(architecture != "llama" && architecture != "qwen3" && architecture != "qwen2",
                     "general.architecture '" + architecture + "' (read: llama, qwen2, qwen3)");
  ModelConfig model;
  model.layers = metadata.size("block_count");
  model.width = metadata.size("embedding_length");
  model.heads = metadata.size("attention.head_count");
  model.kv_heads = metadata.size("attention.head_count_kv", model.heads);
  model.mlp_width = metadata.size("feed_forward_length");
  model.context = metadata.size("context_length");
  model.norm_eps = as_written(metadata.number("attention.layer_norm_rms_epsilon", 1e-6));
  model.rope_theta = metadata.number("rope.freq_base", 10000);
  model.tie_embeddings = !file.find("output.weight");
  model.qk_norm = architecture == "qwen3";
  int64_t const head_size = model.width / model.heads;
  for (char const* key : {"attention.key_length", "attention.value_length", "rope.dimension_count"})
    metadata.refuse_if(metadata.number(key, static_cast<double>(head_size)) != static_cast<double>(head_size),
                       architecture + "." + key + " is not embedding_length / attention.head_count, " + std::to_string(head_size));
  std::string const scaling = metadata.text("rope.scaling.type", "none");
  bool const scales = scaling != "none" && !(scaling == "linear" && metadata.number("rope.scaling.factor", 1) == 1);
  metadata.refuse_if(scales || file.find("rope_freqs.weight"), "scaled rotary embeddings (only the default is computed here)");
  metadata.refuse_if(metadata.number("expert_count", 0) > 0, "experts");
  metadata.refuse_if(metadata.number("attention.sliding_window", 0) > 0, "a sliding window");
  return model;
}

// llama.cpp turns the pairs (2i, 2i + 1) of a head in its llama; here they are (i, i + E/2). So the rows 0, 2, 4, ... come first.
void undo_interleaving(at::Tensor const& weight, int64_t head_size) {
  int64_t const rows = weight.size(0), columns = weight.size(1);
  auto* const values = weight.mutable_data_ptr<float>();
  std::vector<float> head(static_cast<size_t>(head_size * columns));
  for (int64_t first = 0; first < rows; first += head_size) {
    for (int64_t row = 0; row < head_size; ++row) {
      int64_t const target = row % 2 * (head_size / 2) + row / 2;
      std::copy_n(values + (first + row) * columns, columns, head.data() + target * columns);
    }
    std::copy(head.begin(), head.end(), values + first * columns);
  }
}

}  // namespace

Pretrained open_llama_cpp(fs::path const& path) {
  auto const file = std::make_shared<GgufFile const>(path);
  MetadataReader metadata(*file);
  ModelConfig const model = read_model(*file, metadata);
  int64_t const head_size = model.width / model.heads;
  bool const interleaved = metadata.architecture == "llama";
  StoredWeights weights;
  for (TensorView const& view : file->tensors()) {
    if (view.name == "rope_freqs.weight") continue;  // refused above
    std::string const name = hugging_face_name(view.name);
    metadata.refuse_if(name.empty(), "tensor " + view.name + " is not known here");
    metadata.refuse_if(!is_float_type(view.dtype), "tensor " + view.name + " has values of type " + view.dtype +
                                                       " (read: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K)");
    bool const rotated = interleaved && view.shape.size() == 2 && (name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight"));
    metadata.refuse_if(rotated && view.shape[0] % head_size != 0, "tensor " + view.name + " has no whole heads");
    weights.push_back({name, view.shape, [view, file, rotated, head_size] {
                         at::Tensor const values = at::empty(view.shape, at::TensorOptions().dtype(at::kFloat));
                         decode_floats(view.bytes, view.dtype, {values.mutable_data_ptr<float>(), static_cast<size_t>(values.numel())});
                         forget_mapped(view.bytes);
                         if (rotated) undo_interleaving(values, head_size);
                         return values;
                       }});
  }
  if (metadata.problems.empty()) weights = without_zero_biases(weights, metadata.problems);
  if (!metadata.problems.empty()) throw Error(ExitCode::checkpoint, path.string() + " cannot be computed here:" + metadata.problems);
  return {path, "GGUF file (" + metadata.architecture + ")", model, {}, std::move(weights)};
}

}  // namespace isobath
