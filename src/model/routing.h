#pragma once
// What goes into a forward pass and what comes out of it, for every kind of depth.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "model/across_ranks.h"
#include "nn/rows.h"

namespace isobath {

// How routed layers select their tokens. topk: the K highest scores of each sequence, in training; the selection depends on later tokens.
// causal: one decision per token that depends on no later token, as generation needs. Kinds of depth that never look at later tokens do the
// same under both.
enum class Routing { topk, causal };

// What random numbers of a pass are for; the streams are independent.
enum class NoiseStream : uint64_t { training, evaluation, calibration, decoding };

// The key of a pass's random numbers. Equal keys give equal numbers, and row i of a pass gets the number of row first_row + i of the step's
// whole batch, so that numbers do not depend on the division into micro-batches.
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
  // Generation. T is 1: each row is the next token of a text in the cache (several rows may be of one text); otherwise each sequence is the
  // whole beginning of a text that is new to the cache. slots_B: the texts' slots in the cache; positions_BT must be defined.
  KvCache* cache = nullptr;
  at::Tensor slots_B = {};
  // Causal routing only: the tokens that each routed layer runs, instead of the model's own decision (bool [B, T] per layer, as
  // RoutedLayer::executed_BT). Of the layers between two exits only the first one's entry counts; in a scaled model, layers that run for
  // all tokens or none ignore their entry. Empty: the model decides.
  std::vector<at::Tensor> replay_BT = {};
};

// Columns of ModelOutput::routing_NC, one row per routed layer, summed over the batch; int64, on the model's device, never read by the
// model itself: rows that ran; query-key pairs attended in them; tokens that the causal decision selects; tokens that top-k selects; tokens
// that both select. The last three are measured under either routing: the causal decision's precision is both / causal, its recall both /
// topk.
enum RoutingColumn : int { routing_rows, routing_pairs, routing_causal, routing_topk, routing_both, routing_columns };

// What a routed layer did with each token; [B, T] on the model's device. While text is generated, layers with a router leave topk_BT
// undefined, and score_BT has the scores of all tokens.
struct RoutedLayer {
  at::Tensor executed_BT, topk_BT, causal_BT;  // bool: ran; selected by top-k; selected by the causal decision
  at::Tensor score_BT;                         // router score, in the wide type; -inf for tokens that were no candidates
  // Distance of the causal decision from its threshold, in the units of what it compares and the wide type; infinite for tokens that were
  // no candidates. Defined only without gradients and outside of generation, and not where no token is decided on: for random routers and
  // layers that run for all tokens or none.
  at::Tensor margin_BT = {};
};

struct ModelOutput {
  at::Tensor x_ND;            // final hidden states after the last norm, N = B * T, in the activations' type
  at::Tensor router_loss;     // bce over routers: mean over tokens and routed layers, not weighted; undefined when off
  at::Tensor predictor_loss;  // mean over tokens and routed layers; undefined when off. Touches predictor parameters only.
  at::Tensor z_loss;          // mean over tokens and routed layers, not weighted; undefined when off
  at::Tensor divergence_sum;  // of training_loss_sum with a teacher: Kullback-Leibler divergence from it, summed over tokens; no gradients
  at::Tensor gate_loss;       // nested: balance and price of depth; scaled: cost of factors; weighted, mean over tokens; or undefined
  // For training in hindsight: the final hidden states of every branch, the last being x_ND, and a function from the loss of every token in
  // every branch to the summed loss of the network that chooses the branch.
  std::vector<at::Tensor> branches_ND;
  std::function<at::Tensor(at::Tensor const& losses_NB, at::Tensor const& targets_N)> branch_choice_loss;
  at::Tensor branch_BT;                // int64: each token's branch, as the depth network chose it even under a replay; or undefined
  std::vector<at::Tensor> statistics;  // of a training pass, for LanguageModel::end_of_step (StepStatistics)
  at::Tensor routing_NC;               // int64 [routed layers, routing_columns]; undefined for a dense model and while text is generated
  at::Tensor depth_BT;                 // int64: blocks each token went through; like routed_layers only without gradients
  std::vector<RoutedLayer> routed_layers;
};

// Statistics of one step's training passes, from which running thresholds, prices and biases are updated outside the gradient.
struct StepStatistics {
  // Adds a micro-batch: its tensors are concatenated with the earlier ones' along their first dimension.
  void add(std::vector<at::Tensor> const& of_micro_batch);
  std::vector<at::Tensor> joined() const;  // of all micro-batches, and of all ranks

  at::Tensor updated;   // bool [], on the device: whether the step changed the weights; if not, its statistics are ignored
  double progress = 0;  // share of the run that is done after the step
  AcrossRanks ranks;    // that share the step's batch

 private:
  std::vector<std::vector<at::Tensor>> parts_;
};

}  // namespace isobath
