#include "trainer/export/hugging_face.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/tokenizer/export.h"
#include "format/safetensors_folder.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

std::string torch_name(std::string const& dtype) { return dtype == "BF16" ? "bfloat16" : dtype == "F16" ? "float16" : "float32"; }

// Of a class of transformers.
void add_stock_keys(Json& config, ModelConfig const& model) {
  config["hidden_act"] = "silu";
  config["attention_bias"] = false;
  config["attention_dropout"] = 0.0;
  if (model.qk_norm) {
    config["use_sliding_window"] = false;
    config["sliding_window"] = nullptr;
    config["max_window_layers"] = model.layers;
  } else {
    config["mlp_bias"] = false;
  }
}

// Both versions of transformers read it: 4 takes rope_theta and torch_dtype, 5 rope_parameters and dtype.
Json config_json(ExportedModel const& exported, std::string const& dtype) {
  ModelConfig const& model = exported.model;
  Json config = {{"architectures", {hugging_face_class(exported)}},
                 {"model_type", exported.code   ? "isobath"
                                : model.qk_norm ? "qwen3"
                                                : "llama"},
                 {"vocab_size", exported.tokenizer->vocab_size()},
                 {"hidden_size", model.width},
                 {"intermediate_size", model.mlp_width},
                 {"num_hidden_layers", model.layers},
                 {"num_attention_heads", model.heads},
                 {"num_key_value_heads", model.kv_heads},
                 {"head_dim", model.width / model.heads},
                 {"max_position_embeddings", model.context},
                 {"rms_norm_eps", model.norm_eps},
                 {"rope_theta", model.rope_theta},
                 {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", model.rope_theta}}},
                 {"tie_word_embeddings", model.tie_embeddings}};
  if (exported.code)
    config.update(code_keys(model, exported.depth, *exported.code));
  else
    add_stock_keys(config, model);
  config["initializer_range"] = std::min(model.init_std, 1.0);
  config["bos_token_id"] = nullptr;
  config["eos_token_id"] = exported.tokenizer->document_end();
  config["use_cache"] = true;
  config["torch_dtype"] = config["dtype"] = torch_name(dtype);
  return config;
}

Json generation_json(Tokenizer const& tokenizer) {
  return {{"eos_token_id", tokenizer.document_end()}, {"pad_token_id", tokenizer.document_end()}, {"do_sample", false}};
}

}  // namespace

std::string hugging_face_class(ExportedModel const& exported) {
  return exported.code ? "IsobathForCausalLM" : exported.model.qk_norm ? "Qwen3ForCausalLM" : "LlamaForCausalLM";
}

void write_hugging_face(fs::path const& folder, ExportedModel const& model, HuggingFaceOptions const& options) {
  if (model.code)
    check_code_covers(model.depth);
  else
    check_other_programs_know(model.model);
  std::vector<std::pair<std::string, std::string>> texts{
      {"config.json", config_json(model, options.dtype).dump(2) + "\n"},
      {"generation_config.json", generation_json(*model.tokenizer).dump(2) + "\n"},
      {"tokenizer.json", tokenizer_json(*model.tokenizer)},
      {"tokenizer_config.json", tokenizer_config_json(*model.tokenizer, model.model.context)},
      {"README.md", options.card}};
  if (model.code) {
    texts.emplace_back(model.code->configuration + ".py", model.code->configuration_text);
    texts.emplace_back(model.code->modeling + ".py", model.code->modeling_text);
  }
  for (auto const& [name, content] : texts) write_file_atomic(folder / name, content);
  EncodedTensors encoded;
  for (TensorView const& weight : model.weights) encoded.add(weight, decides_routing(weight.name) ? "F32" : options.dtype);
  write_safetensors_folder(folder, encoded.views, {{"format", "pt"}}, options.part_bytes);

  for (auto const& [name, content] : texts)
    if (read_file(folder / name) != content)
      throw Error(ExitCode::disk, (folder / name).string() + " was read back and is not what was written");
  check_read_back(folder, encoded.views, SafetensorsFolder(folder).tensors());
}

}  // namespace isobath
