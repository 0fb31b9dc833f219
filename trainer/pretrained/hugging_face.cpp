#include "trainer/pretrained/hugging_face.h"

#include <ATen/ops/count_nonzero.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/json_nesting.h"
#include "format/safetensors_folder.h"

namespace isobath {
namespace {

// config.json, and what in it does not fit.
class ConfigReader {
 public:
  explicit ConfigReader(fs::path const& path) {
    if (std::string const text = read_file(path); !nests_too_deep(text)) config_ = nlohmann::json::parse(text, nullptr, false);
    if (!config_.is_object()) throw Error(ExitCode::checkpoint, path.string() + " is not a JSON object");
  }

  // The value of a key; `otherwise` where it is missing or null.
  template <typename T>
  T value(char const* key, T otherwise) const {
    auto const found = config_.find(key);
    if (found == config_.end() || found->is_null()) return otherwise;
    try {
      return found->get<T>();
    } catch (nlohmann::json::exception const&) {
      throw Error(ExitCode::checkpoint, std::string("config.json: ") + key + " is " + found->dump());
    }
  }

  int64_t size(char const* key) {
    auto const number = value<int64_t>(key, 0);
    if (number < 1) refuse(std::string(key) + " is missing or not positive");
    return std::max<int64_t>(1, number);
  }

  nlohmann::json part(char const* key) const {
    auto const found = config_.find(key);
    return found != config_.end() && found->is_object() ? *found : nlohmann::json::object();
  }

  void refuse(std::string const& what) { problems += "\n  config.json: " + what; }
  void refuse_if(bool wrong, std::string const& what) {
    if (wrong) refuse(what);
  }

  std::string problems;

 private:
  nlohmann::json config_;
};

double rotary_base(ConfigReader& config) {
  nlohmann::json const parameters = config.part("rope_parameters"), scaling = config.part("rope_scaling");
  for (nlohmann::json const& part : {parameters, scaling}) {
    std::string const type = part.value("rope_type", part.value("type", "default"));
    config.refuse_if(type != "default", "rotary embeddings of type " + type + " (only the default is computed here)");
  }
  double const partial = config.value("partial_rotary_factor", parameters.value("partial_rotary_factor", 1.0));
  config.refuse_if(partial != 1, "partial_rotary_factor " + std::to_string(partial));
  return parameters.value("rope_theta", config.value("rope_theta", 10000.0));
}

ModelConfig read_model(ConfigReader& config) {
  std::string const type = config.value<std::string>("model_type", "");
  static std::set<std::string> const known{"llama", "mistral", "qwen2", "qwen3"};
  config.refuse_if(!known.contains(type), "model_type '" + type + "' (read: llama, mistral, qwen2, qwen3)");
  std::string const activation = config.value<std::string>("hidden_act", "silu");
  config.refuse_if(activation != "silu", "hidden_act '" + activation + "' (only silu, gated)");
  ModelConfig model;
  model.layers = config.size("num_hidden_layers");
  model.width = config.size("hidden_size");
  model.heads = config.size("num_attention_heads");
  model.kv_heads = config.value("num_key_value_heads", model.heads);
  model.mlp_width = config.size("intermediate_size");
  model.context = config.size("max_position_embeddings");
  model.norm_eps = config.value("rms_norm_eps", 1e-6);
  model.tie_embeddings = config.value("tie_word_embeddings", false);
  model.rope_theta = rotary_base(config);
  model.qk_norm = type == "qwen3";
  int64_t const head_size = config.value("head_dim", model.width / model.heads);
  config.refuse_if(head_size * model.heads != model.width, "head_dim " + std::to_string(head_size) + " times " +
                                                               std::to_string(model.heads) + " heads is not hidden_size " +
                                                               std::to_string(model.width));
  int64_t const window = config.value<int64_t>("sliding_window", 0);
  bool const slides = window > 0 && window < model.context && config.value("use_sliding_window", type != "qwen2" && type != "qwen3");
  config.refuse_if(slides, "sliding_window " + std::to_string(window) + " below max_position_embeddings " + std::to_string(model.context) +
                               " (windows are not computed here)");
  config.refuse_if(config.part("quantization_config").size() > 0, "quantization_config (only unquantised weights)");
  return model;
}

bool is_computed_here(std::string const& name) { return !name.ends_with("rotary_emb.inv_freq"); }

}  // namespace

StoredWeights without_zero_biases(StoredWeights const& weights, std::string& problems) {
  StoredWeights kept;
  for (StoredWeight const& weight : weights) {
    if (!weight.name.ends_with(".bias"))
      kept.push_back(weight);
    else if (at::count_nonzero(weight.read()).item<int64_t>() > 0)
      problems += "\n  " + weight.name + ": biases are not computed here, and this one is not zero";
  }
  return kept;
}

Pretrained open_hugging_face(fs::path const& folder) {
  ConfigReader config(folder / "config.json");
  ModelConfig const model = read_model(config);
  bool const safetensors = fs::exists(folder / "model.safetensors") || fs::exists(folder / "model.safetensors.index.json");
  config.refuse_if(!safetensors, "the folder holds no model.safetensors (weights of other formats are not read)");
  StoredWeights weights;
  if (safetensors) {
    auto const files = std::make_shared<SafetensorsFolder const>(folder);
    std::vector<TensorView> tensors;
    for (TensorView const& view : files->tensors())
      if (is_computed_here(view.name) && !(model.tie_embeddings && view.name == "lm_head.weight")) tensors.push_back(view);
    weights = without_zero_biases(stored_weights(tensors, files), config.problems);
  }
  if (!config.problems.empty()) throw Error(ExitCode::checkpoint, folder.string() + " cannot be computed here:" + config.problems);
  std::string const type = config.value<std::string>("model_type", "");
  return {folder, "Hugging Face folder (" + type + ")", model, {}, std::move(weights)};
}

}  // namespace isobath
