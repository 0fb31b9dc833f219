#pragma once
// A factor on what each layer adds, learned: one number a layer (ReZero, Bachlechner et al. 2020), one a channel (LayerScale, Touvron et
// al. 2021, section 2), or a sigmoid of each token's state (after GateSkip, Laitenberger et al. 2025). A layer is h = x + a attention(x),
// y = h + a mlp(h). All layers run until the model is hardened; from then on those whose factor is too small are skipped.

#include <torch/nn/module.h>

#include <vector>

#include "model/language_model.h"
#include "nn/layers.h"

namespace isobath {

// Of one layer.
struct LayerScaleImpl : torch::nn::Module {
  LayerScaleImpl(ModelConfig const& model, DepthConfig const& depth);

  // [1], [D] or, by tokens, [N, 1]; in the wide type (ops.h).
  at::Tensor factor(at::Tensor const& x_ND) const;

  at::Tensor factor_X;        // [1] or [D]; undefined by tokens
  at::Tensor weight_D, bias;  // by tokens: sigmoid(weight_D x + bias) of the normalised state
};

// Of the model: which factors are too small.
struct DepthScaleImpl : torch::nn::Module {
  DepthScaleImpl(ModelConfig const& model, DepthConfig const& depth);

  // By tokens, with a mean depth: how many factors exceed the threshold is a matter of what these are.
  bool has_cut() const { return by_token && mean_depth > 0; }
  // Whether there is a threshold to skip by: not where it must come from training or a calibration and none has been.
  bool has_decision() const;
  // After a training forward: moves the threshold towards what its factors exceed mean_depth times a token.
  void follow(std::vector<RoutedLayer> const& of_layers);
  // Sets `cut` so that these factors exceed threshold + cut mean_depth times a token.
  void calibrate(std::vector<RoutedLayer> const& of_layers);

  // Of the factors of all layers, one [1] or [D] each: sets those to 0 whose mean magnitude is not among the mean_depth largest, or below
  // skip_below (the largest stays).
  void drop(std::vector<at::Tensor> const& factors) const;

  bool by_token;
  int64_t layers;
  double mean_depth, skip_below, weight, threshold_decay;
  at::Tensor threshold;  // buffer [2]: value, number of updates; a token's factor must exceed the first
  at::Tensor cut;        // buffer [1], starts at 0: added to it outside of training
  at::Tensor hardened;   // buffer [1]: 0 or 1

 private:
  at::Tensor separating_factor(std::vector<RoutedLayer> const& of_layers) const;  // [1]
};

// One forward pass. Reads from the device whether the model is hardened, and then which rows run.
class ScaledRun {
 public:
  // replay_BT: as ModelInput has it.
  ScaledRun(DepthScaleImpl& scale, DepthConfig const& depth, std::vector<at::Tensor> const& replay_BT);

  at::Tensor layer(BlockImpl& block, LayerScaleImpl const& scale, at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary);
  // weight max(0, sum of mean factors - mean_depth) / layers; undefined once hardened.
  at::Tensor cost() const;

  std::vector<RoutedLayer> layers;  // scored by the magnitude of their factors

 private:
  DepthScaleImpl& scale_;
  bool keeps_kv_, hardened_;
  std::vector<at::Tensor> const& replays_;
  at::Tensor sum_;  // over layers, of the mean magnitude of factors
};

}  // namespace isobath
