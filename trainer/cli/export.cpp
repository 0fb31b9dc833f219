// isobath export: a checkpoint's weights as one safetensors file.

#include <CLI/CLI.hpp>
#include <cstdio>

#include "config/fields.h"
#include "config/values.h"
#include "core/error.h"
#include "model/depth/scaled/fold.h"
#include "trainer/cli/commands.h"
#include "trainer/run/saved_model.h"

namespace isobath {

namespace {

// What a reader needs to build the model: every key of `model` and `depth`, with `auto` resolved.
Metadata model_metadata(Checkpoint const& checkpoint, Config config) {
  config.model.kv_heads = resolved_kv_heads(config.model);
  config.model.mlp_width = resolved_mlp_width(config.model);
  config.model.init_std = resolved_init_std(config.model);
  config.depth.predictor_width = resolved_predictor_width(config.model, config.depth);
  config.depth.router_width = resolved_router_width(config.model, config.depth);
  if (config.depth.kind == "mod") config.depth.skip_rank = resolved_skip_rank(config.model, config.depth);
  if (config.depth.kind == "nested") {
    config.depth.decide_after = resolved_decide_after(config.depth);
    config.depth.prefix = resolved_prefix(config.model, config.depth);
  }
  Metadata metadata{{"format", "pt"},
                    {"vocab_size", std::to_string(checkpoint.tokenizer->vocab_size())},
                    {"tokenizer", checkpoint.tokenizer->fingerprint()},
                    {"step", std::to_string(checkpoint.state.step)}};
  for (ConfigField const& field : config_fields()) {
    if (section_of(field.path) == "model" || section_of(field.path) == "depth")
      metadata[field.path] = format_value(field, field.at(config));
  }
  return metadata;
}

void run_export(std::string const& path, std::string const& output_path, std::string const& dtype, bool fold) {
  fs::path const output = output_file(output_path, "-o");
  Checkpoint const checkpoint = open_checkpoint(find_checkpoint(path));
  std::shared_ptr<LanguageModel> const model = load_model(checkpoint);
  Config config = checkpoint.config;
  NamedTensors weights;
  if (fold) {
    DenseModel dense = fold_factors(*model);
    weights = std::move(dense.weights);
    config.model = dense.model;
    config.depth = {};
  } else {
    weights = export_weights(*model);
  }
  if (dtype == "f64") {
    for (auto& [name, tensor] : weights) tensor = tensor.to(at::kDouble);
  }
  fs::path temporary = output;
  temporary += ".tmp";
  write_tensors(temporary, weights, model_metadata(checkpoint, config));
  std::error_code error;
  fs::rename(temporary, output, error);
  if (error) throw Error(ExitCode::disk, "cannot write " + output.string() + ": " + error.message());
  std::printf("%s: %zu tensors of step %lld%s\n", output.c_str(), weights.size(), static_cast<long long>(checkpoint.state.step),
              fold ? (", " + std::to_string(config.model.layers) + " layers").c_str() : "");
}

}  // namespace

void add_export(CLI::App& app) {
  CLI::App* command = app.add_subcommand("export", "Weights as one safetensors file under Hugging Face Llama's names");
  auto const target = add_target(*command, "CHECKPOINT", "Checkpoint, or run folder (its latest)");
  auto const output = std::make_shared<std::string>();
  auto const dtype = std::make_shared<std::string>("f32");
  command->add_option("-o,--output", *output, "File to write")->required();
  command->add_option("--dtype", *dtype, "Number format")->check(CLI::IsMember({"f32", "f64"}))->capture_default_str();
  auto const fold = std::make_shared<bool>(false);
  command->add_flag("--fold", *fold, "Of `depth.kind: scaled`: the layers that are left as a plain dense model, factors multiplied in");
  command->callback([target, output, dtype, fold] {
    if (!target->overrides.empty()) throw Error(ExitCode::config, "'" + target->overrides.front() + "': export takes options, no keys");
    run_export(target->path, *output, *dtype, *fold);
  });
}

}  // namespace isobath
