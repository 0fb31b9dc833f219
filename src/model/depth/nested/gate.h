#pragma once
// The depth network of a nested model: it chooses the branch of each token from the hidden state after depth.decide_after layers. No choice
// depends on later tokens, so that training, evaluation and generation choose alike.

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
    at::Tensor probability_NB;  // softmax of logits_NB
    at::Tensor score_NB;        // the chosen branch has the largest; without gradients; undefined when random
    at::Tensor prefix_N;        // bool, with `choice: sequence` only: the tokens that the choice is made from
  };
  // rows: all tokens of the batch.
  Choice choose(at::Tensor const& x_ND, Rows const& rows, uint64_t noise_key) const;
  // The scores that a choice compares, before the offset is added: [N, branches] or, with `choice: sequence`, [B, branches].
  at::Tensor calibration_scores(at::Tensor const& x_ND, Rows const& rows) const;
  // Sets the offset `cut` so that the branches chosen by these scores have a mean depth as near to depth.mean_depth as possible. length:
  // tokens per sequence.
  void calibrate(at::Tensor const& score_NB, int64_t length);
  bool has_offset() const { return mean_depth > 0 && !random; }

  // The factor, one number per token, on what the layers behind exit `exit` (from 0) add; undefined: 1. `gate_training: weight`: the
  // probability of going on past the exit; `gumbel`: 1, with that probability's gradient (straight through).
  at::Tensor weight_N(Choice const& choice, int64_t exit) const;
  // Difference between the best score of the branches that stop at or before exit `exit` and the best score of the deeper ones; infinite
  // for prefix tokens. score_NB must be defined.
  at::Tensor margin_N(Choice const& choice, int64_t exit) const;
  // Sum over tokens of the balance loss and the price of depth; undefined when both are off. The balance loss is n sum_b (share of branch
  // b) (its probability) (Fedus et al. 2022, eq. 4), with the shares of the previous step, so that it does not depend on the division into
  // micro-batches.
  at::Tensor loss_sum(Choice const& choice) const;
  // Sum over tokens with a target of the cross-entropy of logits_NB against the best branch in hindsight: softmax(-(loss + price depth /
  // layers) / temperature), at temperature 0 the best branch alone. With `choice: sequence` the loss is the mean over the sequence's tokens
  // behind the prefix.
  at::Tensor hindsight_loss_sum(Choice const& choice, at::Tensor const& losses_NB, at::Tensor const& targets_N) const;
  // How many tokens took each branch: int64 [1, branches].
  at::Tensor counts(Choice const& choice) const;
  // Updates price and biases after a step; counts_B is summed over its micro-batches. The price rises while the mean depth exceeds
  // depth.mean_depth and falls otherwise; a branch's bias rises while its share is below the planned one and falls while it is above.
  // Nothing changes where `updated` (bool []) is false.
  void end_of_step(at::Tensor const& counts_B, at::Tensor const& updated);
  void weights(WeightList& list) const;

  bool computes_all_branches() const { return training_kind == GateTraining::hindsight; }

  GateTraining training_kind;
  std::vector<int64_t> depths;  // of the branches, in layers
  std::vector<double> shares;   // planned
  bool random, by_sequence, balance_loss, balance_bias;
  int64_t layers, prefix;
  double mean_depth, price_rate, balance_weight, temperature;
  at::Tensor hidden_HD, weight_BX, bias_B;  // hidden undefined when linear; all undefined when random
  at::Tensor price, balance_B, cut;         // buffers [1], [branches], [1]; start at 0
  at::Tensor previous_shares_B;             // buffer [branches]: shares of the previous step; starts with equal shares

 private:
  // With `choice: sequence`: the mean hidden state [B, D] of each sequence's prefix. Sets prefix_N to the tokens that belong to a prefix.
  at::Tensor prefix_means(at::Tensor const& x_ND, Rows const& rows, at::Tensor& prefix_N) const;
  at::Tensor network(at::Tensor const& x_ND) const;
  at::Tensor depths_B(at::Tensor const& like) const;
  at::Tensor relative_depths_B(at::Tensor const& like) const;  // depths as shares of all layers
};

}  // namespace isobath
