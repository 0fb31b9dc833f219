#pragma once
// One optimizer step, and the sums of its metrics since the last train record.

#include <cstdint>
#include <string>

#include "model/language_model.h"
#include "trainer/parallel/gradient_exchange.h"
#include "trainer/parallel/ranks.h"
#include "trainer/train/device_prefetcher.h"
#include "trainer/train/optimizer.h"
#include "trainer/train/teaching.h"

namespace isobath {

// Sums over the steps since the last train record. They stay on the device; only a record reads them.
struct MetricWindow {
  MetricWindow(int64_t routed_layers, at::Device device);
  void clear();
  // The live tensors by name, for the checkpoint: a run stopped between two records goes on with the same sums.
  std::vector<TensorPart> tensors() const;

  enum Value : int { loss, router_loss, predictor_loss, grad_norm, z_loss, gate_loss, divergence, values };  // new ones go last
  at::Tensor sums_S;                                                                                         // fp64, finite values only
  at::Tensor counts_S;                                                                                       // fp64: how many were finite
  at::Tensor skipped;            // fp64, 0-dim: steps that updated nothing
  at::Tensor streak;             // fp64, 0-dim: skipped steps in a row, up to now; survives clear()
  at::Tensor predictor_skipped;  // fp64, 0-dim: steps that updated no predictor because its gradients were not finite
  at::Tensor predictor_streak;   // fp64, 0-dim: such steps in a row, up to now; survives clear()
  at::Tensor routing_NC;         // int64, as ModelOutput's: of all ranks, up to the last gather()
  at::Tensor own_routing_NC;     // of this rank, since then

  // Adds what the ranks counted since the last call. Before the counts are read or saved.
  void gather(Ranks const& ranks);
};

struct StepSettings {
  int64_t micro_sequences = 1;  // sequences of one forward and backward; divides the batch
  double bce_weight = 0;
  uint64_t seed = 0;
  double z_loss_weight = 0;
  bool threshold_training = false;  // routes by the running threshold from the second step on; the host then waits for row counts
  Teaching teaching = {};
  AcrossRanks ranks = {};  // that share the batch
};

struct Optimizers {
  AdamW language_model, predictor;
  std::shared_ptr<GradientExchange> exchange = nullptr;  // of several ranks; null: one process alone

  void zero_grad();
  void step(double learning_rate);
};
// model's DepthConfig has the settings of routers. ranks must outlive them.
Optimizers make_optimizers(LanguageModel const& model, TrainConfig const& train, ParallelConfig const& parallel = {},
                           Ranks const& ranks = one_process());

// Where a step stands in its run.
struct StepPlace {
  int64_t step = 0;     // from 0
  double progress = 0;  // share of the run that is done before it
  double progress_after = 0;
  double learning_rate = 0;
};

// Runs one optimizer step; with several ranks each does its part of the batch, and all end with the same weights. Returns a message for the
// log when the step changed how the model runs, mostly an empty one. Reads nothing from the device, unless threshold_training or the kind
// of depth does.
std::string train_step(LanguageModel& model, Optimizers& optimizers, DeviceBatch const& batch, StepSettings const& settings,
                       StepPlace const& place, MetricWindow& window);

}  // namespace isobath
