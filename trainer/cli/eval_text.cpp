#include "trainer/cli/eval_text.h"

#include <set>

#include "config/io.h"
#include "core/error.h"
#include "data/rolling_windows.h"
#include "nn/device.h"
#include "trainer/pretrained/pretrained.h"
#include "trainer/run/machine.h"

namespace isobath {

namespace {

// Why what data.sources names is not the text that the checkpoint was trained on and validated with.
[[noreturn]] void refuse_other_text(Checkpoint const& checkpoint, Config const& config, std::string const& key) {
  for (ConfigDifference const& difference : diff_configs(checkpoint.config, config))
    if (difference.path == "data.sources")
      throw Error(ExitCode::config, "data.sources is the training text, and eval scores validation text: --text " + difference.after +
                                        " scores all of it, data.valid_sources=[...] calibrates on the training text first");
  throw Error(ExitCode::data, "the text is not what " + checkpoint.folder.string() + " was trained on (prepared as " + key + " now, as " +
                                  checkpoint.state.data_key +
                                  " then), so that a part of what it was trained on may be validation text now: restore it");
}

// Prepares the text with the checkpoint's own tokenizer. Without keys that choose other text it must be the run's, wherever it lies.
PreparedData eval_data(Checkpoint const& checkpoint, Config const& config) {
  static std::set<std::string> const same_text{"data.sources", "data.cache_dir", "data.isolate_documents"};
  bool other_text = false;
  for (ConfigDifference const& difference : diff_configs(checkpoint.config, config))
    other_text |= difference.path.starts_with("data.") && !same_text.contains(difference.path);
  if (!other_text) {
    PreparedData data = prepare_data(config);
    std::string const key = data.folder.filename().string();
    if (key != checkpoint.state.data_key) refuse_other_text(checkpoint, config, key);
    if (data.tokenizer->fingerprint() == checkpoint.tokenizer->fingerprint()) return data;
  }
  Config with_own = config;
  if (!config.tokenizer.is_byte()) with_own.tokenizer.kind = (checkpoint.folder / "tokenizer.model").string();
  return prepare_data(with_own);
}

EvalText open_text(Checkpoint const& checkpoint, Config const& config, std::vector<std::string> const& files) {
  EvalText text;
  if (!files.empty()) {
    text.named = std::make_unique<EncodedText>(files, config.data, *checkpoint.tokenizer);
    return text;
  }
  if (!fs::exists(checkpoint.folder / "config.yaml"))
    throw Error(ExitCode::config, checkpoint.folder.string() + " has no validation text of its own: give one with --text FILE");
  try {
    text.prepared = eval_data(checkpoint, config);
  } catch (Error const& error) {
    throw Error(error.code(), std::string(error.what()) + "\n  (this needs the run's text; --text FILE reads any other without it)");
  }
  text.train_stream = std::make_unique<TokenStream>(text.prepared.train);
  text.valid_stream = std::make_unique<TokenStream>(text.prepared.valid);
  return text;
}

}  // namespace

Config eval_config(Checkpoint const& checkpoint, std::vector<std::string> const& overrides) {
  Config const config = model_config_with(checkpoint, overrides);
  for (ConfigDifference const& difference : diff_configs(checkpoint.config, config)) {
    if (difference.path == "model.context" && config.model.context < checkpoint.config.model.context) continue;
    for (char const* fixed : {"model.", "depth.", "tokenizer."}) {
      if (difference.path.starts_with(fixed)) {
        throw Error(ExitCode::config, difference.path + " = " + difference.after + ": a checkpoint's model cannot be changed (it has " +
                                          difference.before +
                                          "); eval takes data.*, eval.*, device, precision, train.threads and a shorter model.context");
      }
    }
  }
  return config;
}

std::shared_ptr<LanguageModel> load_evaluated_model(Checkpoint const& checkpoint, Config const& config) {
  Checkpoint at_context = checkpoint;
  at_context.config.model.context = config.model.context;
  std::shared_ptr<LanguageModel> model = load_model(at_context);
  place_model(*model, config);
  return model;
}

EvalSubject::EvalSubject(Checkpoint const& checkpoint, Config const& config, std::vector<std::string> const& files) {
  open_device(config.device);  // throws for a missing device before the text is prepared
  set_threads(config.train.threads);
  text = open_text(checkpoint, config, files);
  model = load_evaluated_model(checkpoint, config);
  settings = eval_settings(config, *model);
  if (text.named) {
    settings.tokens = 0;  // all of it
    text.windows = std::make_unique<RollingWindows>(text.valid(), checkpoint.tokenizer->text_start(), config.model.context);
  } else {
    text.windows = validation_windows(text.valid(), *model, settings);
  }
}

}  // namespace isobath
