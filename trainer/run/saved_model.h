#pragma once
// What a checkpoint folder holds, as values: model, optimizers, state, configuration, tokenizer.

#include <memory>

#include "config/config.h"
#include "data/tokenizer/tokenizer.h"
#include "model/language_model.h"
#include "trainer/run/checkpoint.h"
#include "trainer/run/state.h"
#include "trainer/train/step.h"

namespace isobath {

void save_checkpoint(fs::path const& folder, LanguageModel const& model, Optimizers const& optimizers, Window const& window,
                     TrainState const& state, Config const& config, Tokenizer const& tokenizer);

struct Checkpoint {
  fs::path folder;
  Config config;
  TrainState state;
  std::shared_ptr<Tokenizer const> tokenizer;
};

// Of a verified folder. Throws Error(checkpoint).
Checkpoint open_checkpoint(fs::path const& folder);
// On the CPU, in fp32 (place_model of machine.h moves it), ready for evaluation.
std::shared_ptr<LanguageModel> load_model(Checkpoint const& checkpoint);
// `checkpoint` again as the new folder `folder`, with the weights and cuts of `model` and this configuration. Throws Error(checkpoint) when
// something is there already.
void save_model_as(fs::path const& folder, Checkpoint const& checkpoint, LanguageModel const& model, Config const& config);
// Reads what train_step goes on from. The model's weights too.
void restore_training(fs::path const& folder, LanguageModel& model, Optimizers& optimizers, Window& window);

}  // namespace isobath
