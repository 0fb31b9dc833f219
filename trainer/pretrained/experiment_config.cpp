#include "trainer/pretrained/experiment_config.h"

#include <algorithm>
#include <set>

#include "config/fields.h"
#include "config/values.h"
#include "core/error.h"
#include "data/tasks/open_tasks.h"
#include "trainer/pretrained/pretrained.h"
#include "trainer/pretrained/teacher.h"

namespace isobath {
namespace {

// Weights do not depend on these: a shorter context is fine, and initial values are replaced.
std::set<std::string> const free_keys{"model.context", "model.init_std"};

// Every key of `model` as the pretrained model has it, `auto` as the number that it stands for.
std::vector<std::pair<std::string, std::string>> model_values(Pretrained const& pretrained) {
  Config config;
  config.model = pretrained.model;
  config.model.kv_heads = resolved_kv_heads(config.model);
  config.model.mlp_width = resolved_mlp_width(config.model);
  std::vector<std::pair<std::string, std::string>> values;
  for (ConfigField const& field : config_fields())
    if (section_of(field.path) == "model" && field.path != "model.init_std")
      values.emplace_back(field.path, format_value(field, field.at(config)));
  return values;
}

// The same of a configuration that was written.
std::map<std::string, std::string> values_of(Config const& config) {
  Pretrained written;
  written.model = config.model;
  std::map<std::string, std::string> values;
  for (auto const& [key, value] : model_values(written)) values[key] = value;
  return values;
}

LoadedConfig with_teacher(LoadedConfig loaded) {
  loaded.look_up = look_up_teacher;
  look_up_teacher(loaded.config);
  return loaded;
}

}  // namespace

LoadedConfig load_experiment(std::filesystem::path const& file, std::vector<std::string> const& overrides) {
  if (is_of_other_program(file)) {
    std::vector<std::string> keys{"train.init_from=" + yaml_text(file.string()), "name=" + yaml_text(file.stem().string())};
    keys.insert(keys.end(), overrides.begin(), overrides.end());
    return load_experiment({}, keys);
  }
  auto const written = written_values(file, overrides);
  auto const given = written.find("train.init_from");
  // With {arm} and {seed} every run starts from another model, which it checks itself.
  bool const of_each_run = given != written.end() && given->second.find('{') != std::string::npos;
  if (given == written.end() || given->second.empty() || of_each_run) return with_teacher(load_config(file, overrides, {check_task_files}));
  Pretrained pretrained = open_pretrained(expand_user(given->second));
  if (auto const chosen = written.find("train.init_layers"); chosen != written.end() && chosen->second.starts_with('['))
    pretrained.model.layers = 1 + std::count(chosen->second.begin(), chosen->second.end(), ',');
  auto const values = model_values(pretrained);
  std::vector<std::string> with_sizes = overrides;
  std::set<std::string> taken;
  auto const take = [&](std::string const& key, std::string const& value) {
    if (written.contains(key)) return;
    with_sizes.push_back(key + "=" + value);
    taken.insert(key);
  };
  for (auto const& [key, value] : values) take(key, value);
  if (!written.contains("train.batch_tokens") && !written.contains("model.context"))
    take("train.batch_tokens", std::to_string(pretrained.model.context));
  if (!written.contains("tokenizer.vocab_size")) take("tokenizer.kind", yaml_text(given->second));
  LoadedConfig loaded = load_config(file, with_sizes, {check_task_files});
  for (std::string const& key : taken) loaded.origins[key] = "train.init_from";
  auto const here = values_of(loaded.config);
  std::string problems;
  for (auto const& [key, value] : values)
    if (!free_keys.contains(key) && here.at(key) != value)
      problems += "\n  " + key + " is " + here.at(key) + " (" + loaded.origins.at(key) + "), the weights need " + value;
  if (!problems.empty())
    throw Error(ExitCode::config,
                "train.init_from: " + given->second + " does not fit; leave these keys out, or give its values:" + problems);
  return with_teacher(std::move(loaded));
}

}  // namespace isobath
