// isobath export: a checkpoint's weights for other programs.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "config/fields.h"
#include "config/values.h"
#include "core/error.h"
#include "core/streams.h"
#include "core/units.h"
#include "model/depth/scaled/fold.h"
#include "model/depth/scaled/module.h"
#include "trainer/cli/commands.h"
#include "trainer/export/hugging_face.h"
#include "trainer/export/llama_cpp.h"
#include "trainer/export/model_card.h"
#include "trainer/pretrained/pretrained.h"
#include "trainer/run/run_folder.h"
#include "trainer/run/saved_model.h"

namespace isobath {

namespace {

struct ExportOptions {
  std::string output, format = "safetensors", dtype = "f32", shard_size = "5G";
  bool fold = false, code = false;
};

// Number formats of each format.
std::map<std::string, std::vector<std::string>> const formats{
    {"safetensors", {"f32", "f64"}}, {"hf", {"f32", "bf16", "f16"}}, {"gguf", {"f32", "f16", "bf16", "q8_0"}}};

// "f32" and "fp32" -> "F32"
std::string checked_dtype(ExportOptions const& options) {
  std::string name = options.dtype;
  if (name.starts_with("fp")) name.erase(1, 1);
  std::vector<std::string> const& allowed = formats.at(options.format);
  if (std::find(allowed.begin(), allowed.end(), name) == allowed.end()) {
    std::string list;
    for (std::string const& each : allowed) list += (list.empty() ? "" : ", ") + each;
    throw Error(ExitCode::config, "--dtype " + options.dtype + ": --format " + options.format + " takes " + list);
  }
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return name;
}

void resolve(ModelConfig& model) {
  model.kv_heads = resolved_kv_heads(model);
  model.mlp_width = resolved_mlp_width(model);
  model.init_std = resolved_init_std(model);
}

void resolve(ModelConfig& model, DepthConfig& depth) {
  resolve(model);
  depth.predictor_width = resolved_predictor_width(model, depth);
  depth.router_width = resolved_router_width(model, depth);
  if (depth.kind == "mod") depth.skip_rank = resolved_skip_rank(model, depth);
  if (depth.kind == "nested") {
    depth.decide_after = resolved_decide_after(depth);
    depth.prefix = resolved_prefix(model, depth);
  }
}

// What a reader needs to build the model: every key of `model` and `depth`, with `auto` resolved.
Metadata model_metadata(Checkpoint const& checkpoint, Config config) {
  resolve(config.model, config.depth);
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

fs::path new_folder(std::string const& path) {
  fs::path const folder = without_last_slash(expand_user(path));
  if (folder.empty() || fs::exists(folder))
    throw Error(ExitCode::config,
                "-o '" + path + "': " + (folder.empty() ? "an empty name" : "this exists") + "; name a folder that does not exist yet");
  return folder;
}

// The model as a dense one, folded where it has learned factors; throws Error(config) when it is none.
DenseModel dense_model(Checkpoint const& checkpoint, LanguageModel const& model, ExportOptions const& options) {
  std::string const& kind = checkpoint.config.depth.kind;
  if (kind == "scaled" || options.fold) return fold_factors(model);
  if (kind == "dense") return {model.model_config(), export_weights(model)};
  throw Error(ExitCode::config,
              "depth.kind is " + kind + ": --format " + options.format +
                  " takes dense models, for llama.cpp runs every token through every layer; --format hf writes a Hugging Face folder "
                  "with code of its own, --format safetensors takes any model");
}

// Whether a Hugging Face folder of this model needs code. Factors of layers and channels are folded into a dense model once small ones are
// skips, unless the code is asked for.
bool needs_code(LanguageModel const& model, ExportOptions const& options) {
  DepthConfig const& depth = model.depth_config();
  if (options.format != "hf" || options.fold) return false;
  auto const* scaled = dynamic_cast<ScaledModule const*>(&model.depth());
  bool const folds = scaled && !scaled->by_token && scaled->is_hard();
  return options.code || (depth.kind != "dense" && !folds);
}

// What is exported, with its weights as views of `alive`.
ExportedModel exported_model(Checkpoint const& checkpoint, LanguageModel const& model, ExportOptions const& options, TensorViews& alive) {
  ExportedModel exported;
  exported.name = checkpoint.config.name;
  exported.tokenizer = checkpoint.tokenizer.get();
  NamedTensors weights;
  if (needs_code(model, options)) {
    exported.model = model.model_config();
    exported.depth = model.depth_config();
    check_code_covers(exported.depth);
    if (auto const layer = model.first_uncalibrated_layer())
      throw Error(ExitCode::config, "layer " + std::to_string(*layer) +
                                        " cannot decide token by token: neither training nor a calibration has set its threshold; "
                                        "calibrate a copy (isobath eval CHECKPOINT --save NEW eval.calibration_tokens=16Ki)");
    weights = export_weights(model);
  } else {
    DenseModel dense = dense_model(checkpoint, model, options);
    if (dense.model.layers == 0) throw Error(ExitCode::config, "all factors became 0, so that no layer is left");
    exported.model = dense.model;
    weights = std::move(dense.weights);
  }
  resolve(exported.model, exported.depth);
  bool const no_class = exported.model.mlp != MlpKind::swiglu;
  if (options.format == "hf" && (needs_code(model, options) || no_class || options.code)) exported.code = model_code(exported.depth.kind);
  alive = view_tensors(weights);
  exported.weights = alive.views;
  return exported;
}

CardFacts card_facts(Checkpoint const& checkpoint, ExportedModel const& model, std::string const& dtype) {
  CardFacts facts;
  facts.config = checkpoint.config;
  facts.step = checkpoint.state.step;
  facts.tokens = checkpoint.state.tokens;
  facts.train_flops = checkpoint.state.train_flops;
  facts.text_key = checkpoint.state.data_key;
  facts.class_name = hugging_face_class(model);
  facts.dtype = dtype;
  facts.export_command = command_line();
  facts.run_folder = fs::weakly_canonical(checkpoint.folder).parent_path().parent_path();
  return facts;
}

void export_for_others(Checkpoint const& checkpoint, LanguageModel const& model, ExportOptions const& options, std::string const& dtype) {
  bool const is_folder = options.format == "hf";
  fs::path const output = is_folder ? new_folder(options.output) : output_file(options.output, "-o");
  auto const part_bytes = parse_count(options.shard_size);
  if (!part_bytes || *part_bytes < 1)
    throw Error(ExitCode::config, "--shard-size '" + options.shard_size + "' is no number of bytes, such as 5G or 200M");
  TensorViews alive;
  ExportedModel const exported = exported_model(checkpoint, model, options, alive);
  std::string note;
  write_atomically(output, [&](fs::path const& temporary) {
    if (!is_folder) {
      note = write_llama_cpp(temporary, exported, dtype);
      return;
    }
    fs::create_directories(temporary);
    std::string const card = model_card(exported, card_facts(checkpoint, exported, dtype));
    write_hugging_face(temporary, exported, {dtype, static_cast<uint64_t>(*part_bytes), card});
  });
  std::string const kind = is_folder ? hugging_face_class(exported) : "GGUF, architecture " + llama_cpp_architecture(exported.model);
  if (exported.code) note = "the folder has code of its own: load it with trust_remote_code=True";
  announce_file(output, fmt::format("{}, {} layers, {} tensors, {}, of step {}; read back and compared{}", kind, exported.model.layers,
                                    exported.weights.size(), dtype, checkpoint.state.step, note.empty() ? "" : "\n  " + note));
}

void export_safetensors(Checkpoint const& checkpoint, LanguageModel const& model, ExportOptions const& options, std::string const& dtype) {
  fs::path const output = output_file(options.output, "-o");
  Config config = checkpoint.config;
  NamedTensors weights;
  if (options.fold) {
    DenseModel dense = fold_factors(model);
    weights = std::move(dense.weights);
    config.model = dense.model;
    config.depth = {};
  } else {
    weights = export_weights(model);
  }
  if (dtype == "F64") {
    for (auto& [name, tensor] : weights) tensor = tensor.to(at::kDouble);
  }
  TensorViews const tensors = view_tensors(weights);
  write_atomically(output, [&](fs::path const& temporary) {
    write_safetensors(temporary, tensors.views, model_metadata(checkpoint, config));
    check_read_back(temporary, tensors.views, SafetensorsFile(temporary).tensors());
  });
  std::string const layers = options.fold ? fmt::format(", {} layers", config.model.layers) : "";
  announce_file(output, fmt::format("{} tensors of step {}{}; read back and compared", weights.size(), checkpoint.state.step, layers));
}

void run_export(std::string const& path, ExportOptions const& options) {
  std::string const dtype = checked_dtype(options);
  if (options.code && options.format != "hf") throw Error(ExitCode::config, "--code goes with --format hf");
  if (options.format == "hf")
    new_folder(options.output);  // throws before the checkpoint is read
  else
    output_file(options.output, "-o");
  Checkpoint const checkpoint = open_model(path);
  std::shared_ptr<LanguageModel> const model = load_model(checkpoint);
  if (options.format == "safetensors")
    export_safetensors(checkpoint, *model, options, dtype);
  else
    export_for_others(checkpoint, *model, options, dtype);
}

}  // namespace

void add_export(CLI::App& app) {
  CLI::App* command = app.add_subcommand("export", "Weights as a safetensors file, a Hugging Face folder or a GGUF file for llama.cpp");
  auto const target = add_target(*command, "CHECKPOINT", "Checkpoint, or run folder (its latest)");
  auto const options = std::make_shared<ExportOptions>();
  command->add_option("-o,--output", options->output, "File to write; with --format hf a new folder")->required();
  command
      ->add_option("--format", options->format,
                   "safetensors: any model, under Hugging Face Llama's names; hf: a folder for transformers, with code where it "
                   "has no such model; gguf: dense models (docs/interop.md)")
      ->check(CLI::IsMember({"safetensors", "hf", "gguf"}))
      ->capture_default_str();
  command->add_option("--dtype", options->dtype, "Number format: f32, f64 (safetensors); f32, bf16, f16 (hf); f32, f16, bf16, q8_0 (gguf)")
      ->capture_default_str();
  command->add_option("--shard-size", options->shard_size, "With --format hf: bytes of weights in a file at most")->capture_default_str();
  command->add_flag(
      "--fold", options->fold,
      "Of `depth.kind: scaled`: the layers that are left as a plain dense model, factors multiplied in (gguf always does, hf where it "
      "can)");
  command->add_flag("--code", options->code, "With --format hf: code in the folder also where transformers has a class; nothing is folded");
  command->callback([target, options] {
    if (!target->overrides.empty()) throw Error(ExitCode::config, "'" + target->overrides.front() + "': export takes options, no keys");
    run_export(target->path, *options);
  });
}

}  // namespace isobath
