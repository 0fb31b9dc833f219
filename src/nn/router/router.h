#pragma once
// Which tokens a routed layer selects, and with what weight: score -> select -> gate -> losses -> decide causally.

#include <torch/nn/module.h>

#include <vector>

#include "config/config.h"
#include "config/sections/routers.h"
#include "nn/router/scores.h"
#include "nn/weight_list.h"

namespace isobath {

// [1]: what separates the `rows` highest values from the others; of equal values what lets the number through that is nearest.
at::Tensor separating_cut(at::Tensor const& value_N, int64_t rows);

struct RouterImpl : torch::nn::Module {
  RouterImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size);

  // One score per row, in the wide type (ops.h), of the block's input.
  at::Tensor score(RouterInput const& input) const;
  // The K best of every sequence, as ops::top_k, or with documents given ops::top_k_of_documents; while training with depth.score_noise, of
  // scores with noise.
  at::Tensor select(at::Tensor const& score_BT, at::Tensor const& segments_BT, int64_t K, Rows const& rows, uint64_t noise_key) const;
  // g(r): raw r, alpha sigmoid(r), 2 sigmoid(r), 1 + 0.2 tanh(r); undefined for g = 1.
  at::Tensor gate(at::Tensor const& score_R) const;
  // The decision from the past alone, as a logit: yes when above 0, or above `cut` where that was set. bce: the score itself; predictor:
  // its output on the detached input; threshold, and none, for which that stands in: score - running threshold. Its loss is the binary
  // cross-entropy against top-k's choice.
  at::Tensor causal_logit(RouterInput const& input, at::Tensor const& score_N) const;
  // Whether that means anything: always, but for a threshold that has neither followed training nor been calibrated.
  bool has_decision() const;
  // Sum over rows of softplus(r)^2: the log-sum-exp of the choices run (r) and skip (0), squared (Zoph et al. 2022, section 3.3).
  at::Tensor z_loss_sum(at::Tensor const& score_N) const;
  // Moves the running threshold towards what separates the `rows` best scores of a training step from the others; scores that are not
  // finite change nothing, nor does a step that did not update the weights (`updated`, bool []).
  void update_threshold(at::Tensor const& score_N, int64_t rows, at::Tensor const& updated);
  // Sets `cut` to the separating_cut of the logits.
  void calibrate(at::Tensor const& logit_N, int64_t rows);

  // layer: "model.layers.3."; base_rate: share of the tokens that it is to select among those it sees.
  void weights(std::string const& layer, double base_rate, WeightList& list) const;

  Gate gate_kind;
  Causal causal;
  RouterScore score_of;
  bool random, normalises, bce_detach, z_loss;
  double gate_alpha, score_noise, threshold_decay;
  std::vector<RouterParameter> declared;            // what the score is computed from, as config/sections/routers.h lists it
  std::vector<at::Tensor> parameters_of_score;      // these
  at::Tensor threshold;                             // buffer [2]: value, number of updates
  at::Tensor cut;                                   // buffer [1], starts at 0: what a logit must exceed outside of training
  at::Tensor up_PD, up_bias_P, down_1P, down_bias;  // predictor: an MLP with SiLU on the RMS-normalised, detached block input
};

}  // namespace isobath
