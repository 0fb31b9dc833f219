#pragma once
// Which branch of a nested model each token takes: a network on the state after depth.decide_after layers. Every choice looks at the past
// alone, so training, evaluation and generation choose alike.

#include <torch/nn/module.h>

#include <cstdint>
#include <vector>

#include "config/config.h"
#include "nn/rows.h"
#include "nn/weight_list.h"

namespace isobath {

struct DepthGateImpl : torch::nn::Module {
  DepthGateImpl(ModelConfig const& model, DepthConfig const& depth);

  struct Choice {
    at::Tensor branch_BT;       // int64, from 0, the shallowest
    at::Tensor logits_NB;       // of the network, in the wide type (ops.h); undefined when random
    at::Tensor probability_NB;  // their softmax
    at::Tensor score_NB;        // of which the branch has the largest, without gradients; undefined when random
    at::Tensor prefix_N;        // bool, by sequence: the tokens that decide
  };
  // rows: all tokens.
  Choice choose(at::Tensor const& x_ND, Rows const& rows, uint64_t noise_key) const;
  // Scores that choices are made by, of these states of a batch, one row per token or (by sequence) per sequence.
  at::Tensor calibration_scores(at::Tensor const& x_ND, Rows const& rows) const;
  // Sets `cut` so that the branches chosen by these scores have a mean depth as near to depth.mean_depth as possible. length: tokens
  // of a sequence.
  void calibrate(at::Tensor const& score_NB, int64_t length);
  bool has_offset() const { return mean_depth > 0 && !random; }

  // What is added behind exit `exit` (0-based) is weighted with this, one number a token. `weight`: the probability of going on;
  // `gumbel`: 1, with that probability's gradient (straight through); undefined: 1.
  at::Tensor weight_N(Choice const& choice, int64_t exit) const;
  // How much the best score on the other side of exit `exit` falls short of the chosen branch's; infinite in a prefix. score_NB is given.
  at::Tensor margin_N(Choice const& choice, int64_t exit) const;
  // Sum over tokens of the balance loss, n sum_b (share of branch b) (its probability) (Fedus et al. 2022, eq. 4), with the shares of the
  // step before, so that the cut into micro-batches does not matter, and of the price of depth; undefined when both are off.
  at::Tensor loss_sum(Choice const& choice) const;
  // Sum over tokens of the cross-entropy to the best branch in hindsight: softmax(-(loss + price depth / layers) / temperature), or the
  // best alone. Tokens without a target do not count; with `choice: sequence` losses are summed over the sequence behind the prefix.
  at::Tensor hindsight_loss_sum(Choice const& choice, at::Tensor const& losses_NB, at::Tensor const& targets_N) const;
  // How many tokens took each branch: int64 [1, branches].
  at::Tensor counts(Choice const& choice) const;
  // After a step that chose so (counts summed over its micro-batches): the price rises while tokens go deeper than depth.mean_depth, biases
  // rise where tokens are missing. `updated` (bool []) false: nothing moves.
  void end_of_step(at::Tensor const& counts_B, at::Tensor const& updated);
  void weights(WeightList& list) const;

  bool sees_all_branches() const { return training_kind == GateTraining::hindsight; }

  GateTraining training_kind;
  std::vector<int64_t> depths;  // of the branches, in layers
  std::vector<double> shares;   // planned
  bool random, by_sequence, balance_loss, balance_bias;
  int64_t layers, prefix;
  double mean_depth, price_rate, balance_weight, temperature;
  at::Tensor hidden_HD, weight_BX, bias_B;  // hidden undefined when linear; all undefined when random
  at::Tensor price, balance_B, cut;         // buffers [1], [branches], [1]; start at 0
  at::Tensor chosen_B;                      // buffer [branches]: shares of the step before; starts even

 private:
  // By sequence: the mean state [B, D] of each text's beginning, and which tokens are in it.
  at::Tensor beginnings(at::Tensor const& x_ND, Rows const& rows, at::Tensor& prefix_N) const;
  at::Tensor network(at::Tensor const& x_ND) const;
  at::Tensor depths_B(at::Tensor const& like) const;
  at::Tensor relative_depths_B(at::Tensor const& like) const;  // as shares of all layers
};

}  // namespace isobath
