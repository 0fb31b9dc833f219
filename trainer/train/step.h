#pragma once
// One optimizer step, and what is remembered of the steps since the last train record.

#include <cstdint>

#include "model/language_model.h"
#include "trainer/train/feed.h"
#include "trainer/train/optimizer.h"

namespace isobath {

// Sums over the steps since the last train record. They stay on the device; only a record reads them.
struct Window {
  Window(int64_t routed_layers, at::Device device);
  void clear();
  // The live tensors by name, for the checkpoint: a run stopped between two records goes on with the same sums.
  NamedParameters tensors() const;

  enum Value : int { loss, router_loss, predictor_loss, grad_norm, z_loss, gate_loss, values };
  at::Tensor sums_S;      // fp64, finite values only
  at::Tensor counts_S;    // fp64: how many were finite
  at::Tensor skipped;     // fp64, 0-dim: steps that updated nothing
  at::Tensor streak;      // fp64, 0-dim: skipped steps in a row, up to now; survives clear()
  at::Tensor routing_NC;  // int64, as ModelOutput's
};

struct StepSettings {
  int64_t micro_sequences = 1;  // sequences of one forward and backward; divides the batch
  double bce_weight = 0;
  uint64_t seed = 0;
  double z_loss_weight = 0;
  bool threshold_training = false;  // selects by the running threshold from the second step on; then the host waits for row counts
};

struct Optimizers {
  AdamW language_model, predictor;
};
Optimizers make_optimizers(LanguageModel const& model, TrainConfig const& train);  // routers by model's DepthConfig

// Makes the model what it is to be in step `step` (from 0), which begins when the share `progress` of the run is done: gives it that step's
// capacities, or hardens it. True when it was not hard before.
bool follow_schedule(LanguageModel& model, uint64_t seed, int64_t step, double progress);

// `step` counts from 0. Reads nothing from the device, unless threshold_training or the kind of depth does.
void train_step(LanguageModel& model, Optimizers& optimizers, DeviceBatch const& batch, StepSettings const& settings, int64_t step,
                double learning_rate, Window& window);

}  // namespace isobath
