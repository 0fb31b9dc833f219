#pragma once
// Saves and loads the contents of a checkpoint folder: model, optimizers, state, configuration, tokenizer.

#include <memory>

#include "config/config.h"
#include "data/tokenizer/tokenizer.h"
#include "model/language_model.h"
#include "model/weights.h"
#include "trainer/run/checkpoint.h"
#include "trainer/run/state.h"
#include "trainer/train/step.h"

namespace isobath {

// The run that a checkpoint belongs to.
struct CheckpointedRun {
  TrainState const& state;
  Config const& config;
  Tokenizer const& tokenizer;
};

// Every rank of a run has to call it: rank 0 writes, and where the optimizer is divided each rank its part of that.
void save_checkpoint(fs::path const& folder, LanguageModel const& model, Optimizers const& optimizers, MetricWindow const& window,
                     CheckpointedRun const& run, Ranks const& ranks = one_process());

struct Checkpoint {
  fs::path folder;
  Config config;
  TrainState state;
  std::shared_ptr<Tokenizer const> tokenizer;
  StoredWeights weights;
};

// Reads all but the tensors of a verified folder. Throws Error(checkpoint).
Checkpoint open_checkpoint(fs::path const& folder);
Checkpoint open_latest_checkpoint(fs::path const& path);  // find_checkpoint and open_checkpoint
// Loads the model on the CPU, in fp32 and in evaluation mode; place_model (machine.h) moves it to a device.
std::shared_ptr<LanguageModel> load_model(Checkpoint const& checkpoint);
// Writes a copy of `checkpoint` to the new folder `folder`, with the weights and calibration of `model` and with `config`. Throws
// Error(checkpoint) when `folder` exists.
void save_model_as(fs::path const& folder, Checkpoint const& checkpoint, LanguageModel const& model, Config const& config);
// Restores the model's weights, the optimizers and the metric window, so that training goes on where the checkpoint was written.
void restore_training(fs::path const& folder, LanguageModel& model, Optimizers& optimizers, MetricWindow& window);

}  // namespace isobath
