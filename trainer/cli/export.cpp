// isobath export: a checkpoint's weights as one safetensors file.

#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/config_fields.h"
#include "core/config_values.h"
#include "core/error.h"
#include "model/weights.h"
#include "trainer/cli/commands.h"
#include "trainer/saved_model.h"

namespace isobath {

namespace {

// What a reader needs to build the model: every key of `model` and `depth`, with `auto` resolved.
Metadata model_metadata(Checkpoint const& checkpoint) {
  Config config = checkpoint.config;
  config.model.mlp_width = resolved_mlp_width(config.model);
  config.model.init_std = resolved_init_std(config.model);
  config.depth.predictor_width = resolved_predictor_width(config.model, config.depth);
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

void run_export(std::string const& path, fs::path const& output, std::string const& dtype) {
  Checkpoint const checkpoint = open_checkpoint(find_checkpoint(path));
  NamedTensors weights = export_weights(*load_model(checkpoint));
  if (dtype == "f64") {
    for (auto& [name, tensor] : weights) tensor = tensor.to(at::kDouble);
  }
  fs::path temporary = output;
  temporary += ".tmp";
  write_tensors(temporary, weights, model_metadata(checkpoint));
  std::error_code error;
  fs::rename(temporary, output, error);
  if (error) throw Error(ExitCode::disk, "cannot write " + output.string() + ": " + error.message());
  std::printf("%s: %zu tensors of step %lld\n", output.c_str(), weights.size(), static_cast<long long>(checkpoint.state.step));
}

}  // namespace

void add_export(CLI::App& app) {
  CLI::App* command = app.add_subcommand("export", "Weights as one safetensors file under Hugging Face Llama's names");
  auto const target = add_target(*command, "CHECKPOINT", "Checkpoint, or run folder (its latest)");
  auto const output = std::make_shared<std::string>();
  auto const dtype = std::make_shared<std::string>("f32");
  command->add_option("-o,--output", *output, "File to write")->required();
  command->add_option("--dtype", *dtype, "Number format")->check(CLI::IsMember({"f32", "f64"}))->capture_default_str();
  command->callback([target, output, dtype] {
    if (!target->overrides.empty()) throw Error(ExitCode::config, "'" + target->overrides.front() + "': export takes options, no keys");
    run_export(target->path, *output, *dtype);
  });
}

}  // namespace isobath
