#include "trainer/pretrained/pretrained.h"

#include <nlohmann/json.hpp>

#include "config/fields.h"
#include "config/io.h"
#include "config/values.h"
#include "core/error.h"
#include "trainer/pretrained/hugging_face.h"
#include "trainer/pretrained/llama_cpp.h"

namespace isobath {
namespace {

Pretrained open_own_checkpoint(fs::path const& path) {
  Checkpoint checkpoint = open_latest_checkpoint(path);
  return {checkpoint.folder,
          "checkpoint",
          checkpoint.config.model,
          checkpoint.config.depth,
          std::move(checkpoint.weights),
          static_cast<double>(checkpoint.state.train_flops) + checkpoint.state.origin.pretraining_flops};
}

// A file of `isobath export`, whose metadata hold every key of `model` and `depth`.
Pretrained open_exported(fs::path const& path) {
  auto const file = std::make_shared<SafetensorsFile const>(path);
  std::vector<std::string> keys;
  for (auto const& [key, value] : file->metadata())
    if (key.starts_with("model.") || key.starts_with("depth.")) keys.push_back(key + "=" + value);
  if (keys.empty())
    throw Error(ExitCode::checkpoint, path.string() +
                                          " does not say what model its weights are of: it was not written by 'isobath export'" +
                                          " (a Hugging Face folder says so in its config.json: name the folder)");
  Config const config = load_config({}, keys).config;
  return {path, "exported safetensors file", config.model, config.depth, stored_weights(file->tensors(), file)};
}

}  // namespace

Pretrained open_pretrained(fs::path const& given) {
  fs::path const path = followed_link(given);
  if (!fs::exists(path)) throw Error(ExitCode::checkpoint, path.string() + ": there is no such file or folder");
  if (fs::is_directory(path)) return fs::exists(path / "config.json") ? open_hugging_face(path) : open_own_checkpoint(path);
  std::string const extension = path.extension().string();
  if (extension == ".gguf") return open_llama_cpp(path);
  if (extension == ".safetensors") return open_exported(path);
  throw Error(ExitCode::checkpoint, path.string() +
                                        " is no model (read: checkpoint, run folder, Hugging Face folder, .gguf, a .safetensors file of "
                                        "'isobath export')");
}

std::shared_ptr<Tokenizer const> pretrained_tokenizer(Pretrained const& pretrained) {
  fs::path const& path = pretrained.path;
  if (path.extension() == ".safetensors") return nullptr;
  return load_tokenizer(path);
}

void check_tokenizer(Pretrained const& pretrained, Tokenizer const& of_run, std::string const& key) {
  auto const own = pretrained_tokenizer(pretrained);
  if (own && own->fingerprint() != of_run.fingerprint())
    throw Error(
        ExitCode::data,
        key + ": " + pretrained.path.string() +
            " was trained with another tokenizer than this run's; leave the section tokenizer out, or give its file as tokenizer.kind");
}

bool is_of_other_program(fs::path const& path) {
  return fs::is_directory(path) ? fs::exists(path / "config.json") : path.extension() == ".gguf" || path.extension() == ".safetensors";
}

Config model_config_with(Checkpoint const& model, std::vector<std::string> const& overrides) {
  fs::path const own = model.folder / "config.yaml";
  if (fs::exists(own)) return load_config(own, overrides).config;
  std::vector<std::string> keys;
  Config config = model.config;
  for (ConfigField const& field : config_fields())
    if (std::string_view const section = section_of(field.path); section == "model" || section == "depth" || section == "tokenizer")
      keys.push_back(field.path + "=" + format_value(field, field.at(config)));
  keys.push_back("name=" + yaml_text(config.name));
  keys.push_back("train.batch_tokens=" + std::to_string(config.train.batch_tokens));
  keys.insert(keys.end(), overrides.begin(), overrides.end());
  return load_config({}, keys).config;
}

Checkpoint open_model(fs::path const& given) {
  fs::path const path = followed_link(given);
  if (fs::exists(path) && !is_of_other_program(path)) return open_latest_checkpoint(path);
  Pretrained pretrained = open_pretrained(path);
  Checkpoint model;
  model.folder = pretrained.path;
  model.config.name = without_last_slash(path).stem().string();
  model.config.model = pretrained.model;
  model.config.depth = pretrained.depth;
  model.config.tokenizer.kind = path.string();
  model.config.train.batch_tokens = pretrained.model.context;  // any that fits
  model.tokenizer = pretrained_tokenizer(pretrained);
  if (!model.tokenizer) throw Error(ExitCode::data, path.string() + " has no tokenizer, so no text can be given to it or read from it");
  model.weights = std::move(pretrained.weights);
  return model;
}

}  // namespace isobath
