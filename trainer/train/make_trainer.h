#pragma once
// Makes everything that a training run needs.

#include <memory>
#include <string>

#include "data/loader.h"
#include "data/prepare.h"
#include "trainer/run/machine.h"
#include "trainer/schedule/schedule.h"
#include "trainer/train/learner.h"
#include "trainer/train/task_validation.h"

namespace isobath {

// The parts of a run, each made from the configuration and the parts above it.
struct TrainerParts {
  Origin origin;
  PreparedData data;
  std::unique_ptr<TokenStream> train_stream, valid_stream;
  std::unique_ptr<Windows> windows;  // of the training text
  Learner learner;
  Machine machine;
  PeakFlops peak_flops;
  Schedule schedule;
  TaskValidation tasks;
};

// Prepares the text, then makes the parts; config must outlive them. version: of the program; earlier: where the run stands; null: it has
// no checkpoint, so it takes the weights of train.init_from. Throws Error(data) when the text is shorter than one window, or the teacher
// another one than before, and Error(config) when ranks differ in what has to be the same: program, LibTorch, configuration, text.
TrainerParts make_trainer(Config const& config, std::string const& version, TrainState const* earlier, Ranks const& ranks);

}  // namespace isobath
