#pragma once
// depth.kind: scaled. A learned factor on what each layer adds: one number a layer (ReZero, Bachlechner et al. 2020), one a channel
// (LayerScale, Touvron et al. 2021, section 2), or a sigmoid of each token's state (after GateSkip, Laitenberger et al. 2025). A layer is
// h = x + a attention(x), y = h + a mlp(h). All layers run until the model is hardened; from then on those whose factor is too small are
// skipped.

#include <vector>

#include "model/depth/kind.h"

namespace isobath {

// The factor of one layer.
struct LayerScaleImpl : torch::nn::Module {
  LayerScaleImpl(ModelConfig const& model, DepthConfig const& depth);

  // [1], [D] or, by tokens, [N, 1]; in the wide type (ops.h).
  at::Tensor factor(at::Tensor const& x_ND) const;
  void weights(std::string const& layer, double init, WeightList& list) const;

  at::Tensor factor_X;        // [1] or [D]; undefined by tokens
  at::Tensor weight_D, bias;  // by tokens: sigmoid(weight_D x + bias) of the normalised state
};

struct ScaledModule : DepthModule {
  ScaledModule(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size);

  std::unique_ptr<DepthPass> begin(ForwardContext const& context) override;
  void model_weights(WeightList& list) const override;
  // Moves the threshold towards what mean_depth factors per token of the step exceed; hardens the model once depth.harden_after is reached.
  std::string end_of_step(StepStatistics const& step) override;
  // Skips in one layer move the factors of those behind it: the offset that one round asks for is tried in the next.
  void end_calibration_round(DepthPasses const& passes) override;
  int calibration_rounds() const override { return has_offset() && is_hard() ? 3 : 0; }
  std::vector<at::Tensor> offsets() const override;
  std::optional<int64_t> undecided_layer() const override;
  bool harden() override;

  // By tokens, with a mean depth: which threshold leaves that depth depends on the text.
  bool has_offset() const { return by_token && mean_depth > 0; }
  bool is_hard() const { return hardened.item<double>() != 0; }

  bool by_token, keeps_kv;
  int64_t layers;
  double mean_depth, skip_below, cost_weight, threshold_decay, harden_after, scale_init;
  std::vector<std::shared_ptr<LayerScaleImpl>> scales;
  at::Tensor threshold;  // buffer [2]: value, number of updates; a token's factor must exceed the first
  at::Tensor cut;        // buffer [1], starts at 0: added to it outside of training
  at::Tensor hardened;   // buffer [1]: 0 or 1
  at::Tensor depth_sum;  // buffer [1]: by tokens, sum over layers of the mean factors of the step before

 private:
  // The value that mean_depth factors per token exceed, of factors [tokens, layers]: [1].
  at::Tensor separating_factor(at::Tensor const& factors_NL) const;
  // Sets the factors of all layers but the mean_depth largest (by mean magnitude), or of those below skip_below, to 0; the largest stays.
  void drop_layers();
};

}  // namespace isobath
