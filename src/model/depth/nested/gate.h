#pragma once
// Which branch of a nested model each token takes: a network on the state after depth.decide_after layers. Every choice looks at the past
// alone, so training, evaluation and generation choose alike.

#include <torch/nn/module.h>

#include <cstdint>
#include <vector>

#include "config/config.h"
#include "nn/rows.h"

namespace isobath {

struct DepthGateImpl : torch::nn::Module {
  DepthGateImpl(ModelConfig const& model, DepthConfig const& depth);

  struct Choice {
    at::Tensor branch_BT;       // int64, from 0, the shallowest
    at::Tensor logits_NB;       // of the network, in the wide type (ops.h); undefined when random
    at::Tensor probability_NB;  // their softmax
    at::Tensor score_NB;        // of which the branch has the largest, without gradients; undefined when random
    at::Tensor price;           // of depth, at this choice
    at::Tensor prefix_N;        // bool, by sequence: the tokens that decide
  };
  // rows: all tokens. calibrate: first sets `cut` so that the mean depth of this batch comes nearest to depth.mean_depth.
  Choice choose(at::Tensor const& x_ND, Rows const& rows, uint64_t noise_key, bool calibrate);

  // What is added behind exit `exit` (0-based) is weighted with this, one number a token. `weight`: the probability of going on;
  // `gumbel`: 1, with that probability's gradient (straight through); undefined: 1.
  at::Tensor weight_N(Choice const& choice, int64_t exit) const;
  // How much the best score on the other side of exit `exit` falls short of the chosen branch's; infinite in a prefix. score_NB is given.
  at::Tensor margin_N(Choice const& choice, int64_t exit) const;
  // Sum over tokens of what balance and the price of depth ask for; undefined when nothing does.
  at::Tensor loss_sum(Choice const& choice) const;
  // Sum over tokens of the cross-entropy to the best branch in hindsight: softmax(-(loss + price depth / layers) / temperature), or the
  // best alone. Tokens without a target do not count; with `choice: sequence` losses are summed over the sequence behind the prefix.
  at::Tensor hindsight_loss_sum(Choice const& choice, at::Tensor const& losses_NB, at::Tensor const& targets_N) const;
  // After a training forward: the price rises while tokens go deeper than depth.mean_depth, biases rise where tokens are missing.
  void steer(Choice const& choice);

  bool sees_all_branches() const { return training_kind == Training::hindsight; }

  enum class Training { weight, gumbel, hindsight } training_kind;
  std::vector<int64_t> depths;  // of the branches, in layers
  std::vector<double> shares;   // planned
  bool random, by_sequence, balance_loss, balance_bias;
  int64_t layers, prefix;
  double mean_depth, price_rate, balance_weight, temperature;
  at::Tensor hidden_HD, weight_BX, bias_B;  // hidden undefined when linear; all undefined when random
  at::Tensor price, balance_B, cut;         // buffers [1], [branches], [1]; start at 0

 private:
  // By sequence: the mean state [B, D] of each text's beginning, and which tokens are in it.
  at::Tensor beginnings(at::Tensor const& x_ND, Rows const& rows, at::Tensor& prefix_N) const;
  at::Tensor network(at::Tensor const& x_ND) const;
  at::Tensor depths_B(at::Tensor const& like) const;
};

}  // namespace isobath
