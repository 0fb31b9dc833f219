#pragma once
// Which tokens a routed layer selects, and with what weight: score -> select -> gate -> losses -> decide causally.

#include <torch/nn/module.h>

#include <vector>

#include "config/config.h"
#include "config/sections/routers.h"
#include "nn/router/scores.h"
#include "nn/weight_list.h"

namespace isobath {

// [1]: a value that the `rows` highest of value_N exceed and the others do not. Equal values stay together, above or below, whichever
// brings the number above nearer to `rows`.
at::Tensor balanced_threshold(at::Tensor const& value_N, int64_t rows);

struct RouterImpl : torch::nn::Module {
  RouterImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size);

  // One score per row, in the wide type (ops.h), of the block's input.
  at::Tensor score(RouterInput const& input) const;
  // The K highest scores of every sequence (ops::top_k) or, where segments_BT is defined, of its documents (ops::top_k_of_documents). While
  // training, normal noise with standard deviation depth.score_noise is added to the scores first.
  at::Tensor select(at::Tensor const& score_BT, at::Tensor const& segments_BT, int64_t K, Rows const& rows, uint64_t noise_key) const;
  // The factor g(r) on what the block adds: raw r, alpha sigmoid(r), 2 sigmoid(r), 1 + 0.2 tanh(r); undefined for g = 1.
  at::Tensor gate(at::Tensor const& score_R) const;
  // The logit of the causal decision: a token is selected where it exceeds 0 while training, otherwise the offset `cut`. `causal: bce`: the
  // score itself; predictor: the predictor's output for the detached input; threshold and none: score - running threshold. The loss of bce
  // and predictor is the binary cross-entropy with top-k's selection as the target.
  at::Tensor causal_logit(RouterInput const& input, at::Tensor const& score_N) const;
  // Whether causal_logit means anything: false only for a running threshold that neither training nor a calibration has set.
  bool has_decision() const;
  // Sum over rows of softplus(r)^2: the log-sum-exp of the choices run (r) and skip (0), squared (Zoph et al. 2022, section 3.3).
  at::Tensor z_loss_sum(at::Tensor const& score_N) const;
  // Moves the running threshold towards the value between the `rows` highest scores of a training step and the others. A step with a score
  // that is not finite, or that did not update the weights (`updated`, bool []), changes nothing.
  void update_threshold(at::Tensor const& score_N, int64_t rows, at::Tensor const& updated);
  // Sets `cut` to the balanced_threshold of the logits.
  void calibrate(at::Tensor const& logit_N, int64_t rows);

  // layer: "model.layers.3."; base_rate: planned share of the router's candidates that it selects.
  void weights(std::string const& layer, double base_rate, WeightList& list) const;

  Gate gate_kind;
  Causal causal;
  RouterScore score_of;
  bool random, normalises, bce_detach, z_loss;
  double gate_alpha, score_noise, threshold_decay;
  std::vector<RouterParameter> declared;            // the score's parameters, as config/sections/routers.h lists them
  std::vector<at::Tensor> parameters_of_score;      // their tensors, in the same order
  at::Tensor threshold;                             // buffer [2]: value, number of updates
  at::Tensor cut;                                   // buffer [1], starts at 0: the offset, which a logit must exceed outside of training
  at::Tensor up_PD, up_bias_P, down_1P, down_bias;  // predictor: an MLP with SiLU on the RMS-normalised, detached block input
};

}  // namespace isobath
