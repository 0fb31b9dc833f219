#include "trainer/run/saved_model.h"

#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>

#include "config/io.h"
#include "core/error.h"
#include "model/weights.h"
#include "trainer/run/old_names.h"
#include "trainer/run/tensor_parts.h"

namespace isobath {

namespace {

// All tensors besides the weights that change from step to step. They are live: writing into them restores training.
std::vector<TensorPart> training_tensors(Optimizers const& optimizers, MetricWindow const& window) {
  std::vector<TensorPart> tensors = optimizers.language_model.state();
  for (std::vector<TensorPart> const& more : {optimizers.predictor.state(), window.tensors()})
    tensors.insert(tensors.end(), more.begin(), more.end());
  return tensors;
}

NamedTensors whole_tensors(std::vector<TensorPart> const& parts) {
  NamedTensors tensors;
  for (TensorPart const& part : parts) tensors.emplace_back(part.name, part.values);
  return tensors;
}

}  // namespace

void save_checkpoint(fs::path const& folder, LanguageModel const& model, Optimizers const& optimizers, MetricWindow const& window,
                     CheckpointedRun const& run, Ranks const& ranks) {
  WholeWeights const whole(optimizers.exchange.get());
  std::vector<TensorPart> const parts = training_tensors(optimizers, window);
  Metadata const metadata{{"step", std::to_string(run.state.step)}};
  bool const divided = optimizers.exchange && optimizers.exchange->shards();
  char const* const optimizer_file = "optimizer.safetensors";
  if (!ranks.is_first()) {
    if (divided) write_parts(unfinished_checkpoint(folder) / optimizer_file, parts, metadata, ranks);
    return;
  }
  write_checkpoint_folder(folder, [&](fs::path const& temporary) {
    write_tensors(temporary / "model.safetensors", export_weights(model), {{"format", "pt"}, {"step", std::to_string(run.state.step)}});
    if (divided)
      write_parts(temporary / optimizer_file, parts, metadata, ranks);
    else
      write_tensors(temporary / optimizer_file, whole_tensors(parts), metadata);
    write_file_atomic(temporary / "state.json", to_json(run.state).dump(2) + "\n");
    write_file_atomic(temporary / "config.yaml", to_yaml(with_absolute_paths(run.config)));
    write_file_atomic(temporary / "tokenizer.model", run.tokenizer.serialized());
  });
}

Checkpoint open_checkpoint(fs::path const& folder) {
  Checkpoint checkpoint;
  checkpoint.folder = folder;
  checkpoint.config = load_config(folder / "config.yaml", {}).config;
  checkpoint.state = state_from_json(read_file(folder / "state.json"), (folder / "state.json").string());
  checkpoint.tokenizer = load_tokenizer(folder / "tokenizer.model");
  checkpoint.weights = merged_low_rank(stored_weights(folder / "model.safetensors"));
  return checkpoint;
}

Checkpoint open_latest_checkpoint(fs::path const& path) {
  Checkpoint checkpoint;
  find_checkpoint(path, [&](fs::path const& folder) { checkpoint = open_checkpoint(folder); });
  return checkpoint;
}

std::shared_ptr<LanguageModel> load_model(Checkpoint const& checkpoint) {
  Config const& config = checkpoint.config;
  auto model = std::make_shared<LanguageModel>(config.model, config.depth, checkpoint.tokenizer->vocab_size(), std::nullopt);
  import_weights(*model, checkpoint.weights);
  model->eval();
  return model;
}

void save_model_as(fs::path const& folder, Checkpoint const& checkpoint, LanguageModel const& model, Config const& config) {
  if (fs::exists(folder)) throw Error(ExitCode::checkpoint, folder.string() + " exists; a checkpoint is written where nothing is yet");
  write_checkpoint_folder(folder, [&](fs::path const& temporary) {
    write_tensors(temporary / "model.safetensors", export_weights(model),
                  {{"format", "pt"}, {"step", std::to_string(checkpoint.state.step)}});
    write_file_atomic(temporary / "config.yaml", to_yaml(config));
    for (char const* same : {"optimizer.safetensors", "state.json", "tokenizer.model"})
      copy_durably(checkpoint.folder / same, temporary / same);
  });
}

void restore_training(fs::path const& folder, LanguageModel& model, Optimizers& optimizers, MetricWindow& window) {
  {
    WholeWeights const whole(optimizers.exchange.get());
    import_weights(model, stored_weights(folder / "model.safetensors"));
  }
  at::NoGradGuard const no_grad;
  SafetensorsFile const file(folder / "optimizer.safetensors");
  for (TensorPart const& part : training_tensors(optimizers, window)) {
    auto const& [name, shape, first, tensor] = part;
    std::string const found = file.find(name) ? name : name_before(name, file, model.depth_config().exits);
    if (found.empty() && name.starts_with("window.")) continue;  // newer than the checkpoint: starts at 0
    std::string const stored = found.empty() ? name : found;
    // An older checkpoint has fewer values in the window; newer values were appended, so the stored ones come first.
    TensorView const* const view = file.find(stored);
    bool const grown = name.starts_with("window.") && view && view->shape.size() == 1 && view->shape[0] < shape[0];
    try {
      read_part(file, stored, grown ? TensorPart{name, view->shape, 0, tensor.narrow(0, 0, view->shape[0])} : part);
    } catch (Error const& problem) {
      throw Error(problem.code(), (folder / "optimizer.safetensors").string() + ": " + problem.what());
    }
  }
}

}  // namespace isobath
