#include "trainer/export/llama_cpp.h"

#include <cstring>

#include "core/error.h"
#include "format/floats.h"
#include "format/gguf.h"
#include "format/llama_cpp_names.h"
#include "trainer/export/llama_cpp_tokenizer.h"

namespace isobath {
namespace {

constexpr int64_t most_layers = 512;  // llama.cpp's

// llama.cpp's name of a tensor.
std::string name_there(std::string const& name) {
  std::string const there = llama_cpp_name(name);
  if (there.empty()) throw Error(ExitCode::other, "llama.cpp has no name for tensor '" + name + "'");
  return there;
}

// Rotary embeddings turn the pairs (i, i + E/2) of a head here, (2i, 2i + 1) in llama.cpp's llama. So rows change places: 0, E/2, 1, ...
std::vector<float> interleaved(TensorView const& weight, int64_t head_size) {
  auto const rows = weight.shape[0], columns = weight.shape[1];
  std::vector<float> result(static_cast<size_t>(rows * columns));
  auto const* from = reinterpret_cast<float const*>(weight.bytes.data());
  for (int64_t row = 0; row < rows; ++row) {
    int64_t const head = row / head_size, within = row % head_size;
    int64_t const source = head * head_size + within % 2 * (head_size / 2) + within / 2;
    std::memcpy(result.data() + row * columns, from + source * columns, static_cast<size_t>(columns) * sizeof(float));
  }
  return result;
}

uint32_t u32(int64_t value) { return static_cast<uint32_t>(value); }

uint32_t file_type(std::string const& dtype) { return dtype == "F32" ? 0 : dtype == "F16" ? 1 : dtype == "Q8_0" ? 7 : 32; }

GgufMetadata metadata_of(ExportedModel const& exported, std::string const& dtype, GgufMetadata const& tokenizer) {
  ModelConfig const& model = exported.model;
  std::string const architecture = llama_cpp_architecture(model), prefix = architecture + ".";
  int64_t const head_size = model.width / model.heads;
  GgufMetadata metadata{{"general.architecture", architecture},
                        {"general.name", exported.name},
                        {"general.file_type", file_type(dtype)},
                        {"general.quantization_version", uint32_t{2}},
                        {prefix + "context_length", u32(model.context)},
                        {prefix + "embedding_length", u32(model.width)},
                        {prefix + "block_count", u32(model.layers)},
                        {prefix + "feed_forward_length", u32(model.mlp_width)},
                        {prefix + "attention.head_count", u32(model.heads)},
                        {prefix + "attention.head_count_kv", u32(model.kv_heads)},
                        {prefix + "attention.key_length", u32(head_size)},
                        {prefix + "attention.value_length", u32(head_size)},
                        {prefix + "attention.layer_norm_rms_epsilon", static_cast<float>(model.norm_eps)},
                        {prefix + "rope.freq_base", static_cast<float>(model.rope_theta)},
                        {prefix + "rope.dimension_count", u32(head_size)},
                        {prefix + "vocab_size", u32(exported.tokenizer->vocab_size())}};
  metadata.insert(metadata.end(), tokenizer.begin(), tokenizer.end());
  return metadata;
}

}  // namespace

std::string llama_cpp_architecture(ModelConfig const& model) { return model.qk_norm ? "qwen3" : "llama"; }

std::string write_llama_cpp(fs::path const& path, ExportedModel const& exported, std::string const& dtype) {
  ModelConfig const& model = exported.model;
  check_other_programs_know(model);
  if (model.layers > most_layers)
    throw Error(ExitCode::config,
                "model.layers is " + std::to_string(model.layers) + ": llama.cpp takes at most " + std::to_string(most_layers));
  GgufTokenizer const tokenizer = gguf_tokenizer_of(*exported.tokenizer);
  GgufMetadata const metadata = metadata_of(exported, dtype, tokenizer.metadata);
  EncodedTensors encoded;
  int64_t not_in_blocks = 0;
  for (TensorView weight : exported.weights) {
    std::vector<float> permuted;
    bool const rotated = weight.name.ends_with("q_proj.weight") || weight.name.ends_with("k_proj.weight");
    if (rotated && !model.qk_norm) {  // qwen3 has the same pairs as we have
      permuted = interleaved(weight, model.width / model.heads);
      weight.bytes = std::as_bytes(std::span(permuted));
    }
    weight.name = name_there(weight.name);
    bool const vector = weight.shape.size() == 1;
    bool const no_blocks = !vector && dtype == "Q8_0" && static_cast<size_t>(weight.shape.back()) % q8_block != 0;
    not_in_blocks += no_blocks;
    encoded.add(weight, vector ? "F32" : no_blocks ? "F16" : dtype);
  }
  write_gguf(path, encoded.views, metadata);

  GgufFile const file(path);
  check_read_back(path, encoded.views, file.tensors());
  if (!(file.metadata() == metadata))
    throw Error(ExitCode::disk, path.string() + ": the metadata were read back and are not what was written");
  if (not_in_blocks == 0) return tokenizer.note;
  return std::to_string(not_in_blocks) + " tensors are F16: their rows are no whole blocks of 32 values" +
         (tokenizer.note.empty() ? "" : "\n  " + tokenizer.note);
}

}  // namespace isobath
