#pragma once
// What goes into a forward pass and what comes out of it, for every kind of depth.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "nn/rows.h"

namespace isobath {

// How routed layers select their tokens: the K best of each sequence (training; looks at the future), or one decision per token from the
// past alone (what generation can do). Kinds of depth that only ever look at the past do the same under both.
enum class Routing { topk, causal };

// What random numbers of a pass are for; the streams are independent.
enum class NoiseStream : uint64_t { training, evaluation, calibration, decoding };

// What a pass draws its random numbers from. Equal keys draw equal numbers, and row i of a pass draws what row first_row + i of the whole
// batch draws, so that the cut into micro-batches does not matter.
struct NoiseKey {
  uint64_t seed = 0;
  int64_t step = 0;
  int64_t first_row = 0;
  NoiseStream stream = NoiseStream::training;
};

struct ModelInput {
  at::Tensor tokens_BT;     // int64
  at::Tensor positions_BT;  // int64; undefined: 0..T-1
  at::Tensor segments_BT;   // int64; undefined: attention crosses documents
  // Generation: T is 1, the next token of texts that the cache has, or the sequences are whole beginnings of texts new to it. slots_B: of
  // the texts; positions_BT is given.
  KvCache* cache = nullptr;
  at::Tensor slots_B = {};
  // Causal routing: which tokens each routed layer runs (bool [B, T], as RoutedLayer::ran_BT), instead of the model's own decision. Of
  // layers behind the same exit the first one's counts; a scaled model's that run whole or not at all stay so. Empty: the model decides.
  std::vector<at::Tensor> replay_BT = {};
};

// Per routed layer, summed over the batch; int64, on the model's device, never read by the model itself.
// Columns: rows that ran; query-key pairs attended in them; tokens the causal decision says yes to; tokens top-k picks; tokens both pick.
// decided / picked / both are measured under either routing (precision = both / decided, recall = both / picked).
enum RoutingColumn : int { routing_rows, routing_pairs, routing_decided, routing_picked, routing_both, routing_columns };

// What a routed layer did with each token; [B, T] on the model's device. While text is generated a router's layers know which tokens ran,
// and scores of all tokens.
struct RoutedLayer {
  at::Tensor ran_BT, picked_BT, decided_BT;  // bool: went through; chosen by top-k; by the causal decision
  at::Tensor score_BT;                       // of the router, in the wide type; -inf for tokens that it did not choose among
  // Without gradients, and not while text is generated: how far the causal decision was from falling the other way, in the units of what it
  // compares and the wide type; infinite for tokens that it was not about. Undefined where none is made: random routers, layers that run
  // whole or not at all.
  at::Tensor margin_BT = {};
};

struct ModelOutput {
  at::Tensor x_ND;            // final hidden states after the last norm, N = B * T, in the activations' type
  at::Tensor router_loss;     // bce over routers: mean over tokens and routed layers, not weighted; undefined when off
  at::Tensor predictor_loss;  // mean over tokens and routed layers; undefined when off. Touches predictor parameters only.
  at::Tensor z_loss;          // mean over tokens and routed layers, not weighted; undefined when off
  at::Tensor gate_loss;       // nested: balance and price of depth; scaled: cost of factors; weighted, mean over tokens; or undefined
  // Branches that training compares in hindsight: final states of each, x_ND being the deepest; and from the losses [N, branches] of
  // every token the summed loss of the network that chooses among them.
  std::vector<at::Tensor> branches_ND;
  std::function<at::Tensor(at::Tensor const& losses_NB, at::Tensor const& targets_N)> branch_choice_loss;
  at::Tensor branch_BT;                // int64; of models that give every token a branch, their own choice, whatever is replayed
  std::vector<at::Tensor> statistics;  // of a training pass, for LanguageModel::end_of_step (StepStatistics)
  at::Tensor routing_NC;               // int64 [routed layers, routing_columns]; undefined for a dense model and while text is generated
  at::Tensor depth_BT;                 // int64: blocks each token went through; without gradients only, as
  std::vector<RoutedLayer> routed_layers;
};

// What the training passes of one step leave for what is learned outside the gradient: running thresholds, prices, biases.
struct StepStatistics {
  // Adds a micro-batch: its tensors are concatenated with the earlier ones' along their first dimension.
  void add(std::vector<at::Tensor> const& of_micro_batch);
  std::vector<at::Tensor> joined() const;

  at::Tensor updated;   // bool [], on the device: the step changed the weights; else nothing that it says is believed
  double progress = 0;  // share of the run that is done after the step

 private:
  std::vector<std::vector<at::Tensor>> parts_;
};

}  // namespace isobath
