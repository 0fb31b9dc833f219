#pragma once
// Who goes through a routed block, and with what weight: score -> select -> gate -> losses -> decide causally.

#include <torch/nn/module.h>

#include "core/config.h"

namespace isobath {

struct RouterImpl : torch::nn::Module {
  RouterImpl(ModelConfig const& model, DepthConfig const& depth);

  // One score per token, in the wide type (ops.h), from x_ND, the block's input. `random`: standard normal noise that depends on noise_key
  // alone.
  at::Tensor score(at::Tensor const& x_ND, uint64_t noise_key) const;
  // g(r): raw r, sigmoid(r), 2 sigmoid(r), 1 + 0.2 tanh(r); undefined for g = 1.
  at::Tensor gate(at::Tensor const& score_R) const;
  // The decision from the past alone, as a logit: yes when above 0. bce: the score itself; predictor: its output on the detached
  // input; none: score - threshold.
  at::Tensor causal_logit(at::Tensor const& x_ND, at::Tensor const& score_N) const;
  // Moves the running threshold towards the score that the B * K best tokens of the batch exceed. Training only.
  void update_threshold(at::Tensor const& score_BT, int64_t K);

  enum class Score { linear, random } kind;
  enum class Gate { raw, sigmoid, sigmoid2, tanh, none } gate_kind;
  enum class Causal { none, bce, predictor } causal;
  double threshold_decay;
  at::Tensor weight_D;                              // linear
  at::Tensor threshold;                             // buffer [2]: value, number of updates
  at::Tensor up_PD, up_bias_P, down_1P, down_bias;  // predictor: an MLP with SiLU on the RMS-normalised, detached block input
};

}  // namespace isobath
