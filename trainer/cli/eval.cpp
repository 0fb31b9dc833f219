// isobath eval: losses of a checkpoint as one JSON object on stdout.

#include "trainer/evaluate.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/config_io.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"
#include "data/prepare.h"
#include "nn/device.h"
#include "trainer/cli/commands.h"
#include "trainer/machine.h"
#include "trainer/records.h"
#include "trainer/saved_model.h"

namespace isobath {

namespace {

// The checkpoint's configuration with overrides that say what to evaluate on, never what the model is.
Config eval_config(Checkpoint const& checkpoint, std::vector<std::string> const& overrides) {
  Config const config = load_config(checkpoint.folder / "config.yaml", overrides).config;
  for (ConfigDifference const& difference : diff_configs(checkpoint.config, config)) {
    for (char const* fixed : {"model.", "depth.", "tokenizer."}) {
      if (difference.path.starts_with(fixed)) {
        throw Error(ExitCode::config, difference.path + " = " + difference.after + ": a checkpoint's model cannot be changed (it has " +
                                          difference.before + "); eval takes data.*, eval.*, device, precision and train.threads");
      }
    }
  }
  return config;
}

// Validation text in the checkpoint's own tokens.
PreparedData eval_data(Checkpoint const& checkpoint, Config const& config) {
  bool other_text = false;
  for (ConfigDifference const& difference : diff_configs(checkpoint.config, config)) other_text |= difference.path.starts_with("data.");
  if (!other_text) {
    PreparedData data = prepare_data(config.data, config.tokenizer);
    if (data.tokenizer->fingerprint() == checkpoint.tokenizer->fingerprint()) return data;
  }
  TokenizerConfig tokenizer = config.tokenizer;
  if (tokenizer.kind != "byte") tokenizer.kind = (checkpoint.folder / "tokenizer.model").string();
  return prepare_data(config.data, tokenizer);
}

void run_eval(Target const& target) {
  Checkpoint const checkpoint = open_checkpoint(find_checkpoint(target.path));
  Config const config = eval_config(checkpoint, target.overrides);
  open_device(config.device);
  set_threads(config.train.threads);
  PreparedData const data = eval_data(checkpoint, config);
  TokenStream const valid(data.valid);
  auto const model = load_model(checkpoint);
  place_model(*model, config);

  EvalSettings settings;
  settings.routing = config.eval.routing;
  settings.tokens = config.eval.final_tokens;
  settings.micro_sequences = evaluation_sequences(config.model, model->device().is_cuda());
  settings.isolate_documents = config.data.isolate_documents;
  settings.seed = static_cast<uint64_t>(config.seed);
  auto const evaluation = evaluate(*model, valid, *data.tokenizer, settings, [] { return stop_requested() != 0; });
  if (!evaluation) throw Error(static_cast<ExitCode>(128 + stop_requested()), "");
  log_info(validation_line(checkpoint.state, *evaluation));
  nlohmann::ordered_json record = validation_record(checkpoint.state, *evaluation, true, 0, "");
  for (char const* of_training : {"kind", "time_s", "eval_s", "final"}) record.erase(of_training);
  std::cout << record.dump(2) << "\n";
}

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App* command = app.add_subcommand("eval", "Loss and bits per byte of a checkpoint, under both routings");
  command->footer(
      "Examples:\n  isobath eval runs/quickstart eval.routing=causal\n  isobath eval runs/quickstart/best data.valid_sources=[book.txt] "
      "eval.final_tokens=64Ki");
  auto const target = add_target(*command, "CHECKPOINT", "Checkpoint, or run folder (its latest)");
  command->callback([target] { run_eval(*target); });
}

}  // namespace isobath
