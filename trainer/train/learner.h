#pragma once
// A model that is trained, with all that a training step needs besides a batch.

#include <memory>

#include "model/ledger/ledger.h"
#include "trainer/train/step.h"

namespace isobath {

struct Learner {
  std::shared_ptr<LanguageModel> model;
  at::Device device;
  Ledger ledger;
  StepSettings settings;
  Optimizers optimizers;
  MetricWindow window;
  DevicePrefetcher to_device;

  std::string step(DeviceBatch const& batch, StepPlace const& place) {
    return train_step(*model, optimizers, batch, settings, place, window);
  }
};

// A fresh model of this configuration on its device, in training mode; a teacher, too, has random weights. ranks, which train it together,
// must outlive it.
Learner make_learner(Config const& config, int64_t vocab_size, Ranks const& ranks = one_process());

// The sequences of a batch that are a rank's: they are divided as evenly as whole sequences can be.
struct BatchShare {
  int64_t first = 0, count = 0;
};
BatchShare batch_share(int64_t sequences, int64_t rank, int64_t ranks);

// The number of sequences in a micro-batch: as configured, or for `auto` the largest divisor of the batch (of a rank's share of it) that
// keeps a micro-batch within 4Ki tokens, on a GPU within 64Ki. Throws Error(config) when train.batch_tokens is not a multiple of
// model.context, or has fewer sequences than there are ranks.
int64_t micro_batch_sequences(Config const& config, bool gpu, int64_t ranks = 1);

}  // namespace isobath
