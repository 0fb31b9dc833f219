#pragma once
// depth.kind: scaled. A learned factor a multiplies what each layer adds: h = x + a attention(x), y = h + a mlp(h). It is one number per
// layer (ReZero, Bachlechner et al. 2020), one per channel (LayerScale, Touvron et al. 2021, section 2), or a sigmoid of each token's
// hidden state (after GateSkip, Laitenberger et al. 2025). All layers run until the model is hardened; from then on layers whose factor is
// too small are skipped.

#include <vector>

#include "model/depth/kind.h"

namespace isobath {

// The factor of one layer.
struct LayerScaleImpl : torch::nn::Module {
  LayerScaleImpl(ModelConfig const& model, DepthConfig const& depth);

  // [1], [D] or, with `scale: token`, [N, 1]; in the wide type (ops.h).
  at::Tensor factor(at::Tensor const& x_ND) const;
  void weights(std::string const& layer, double init, WeightList& list) const;

  at::Tensor factor_X;        // [1] or [D]; undefined with `scale: token`
  at::Tensor weight_D, bias;  // `scale: token`: sigmoid(weight_D x + bias), x being the normalised hidden state
};

struct ScaledModule : DepthModule {
  ScaledModule(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size);

  std::unique_ptr<DepthPass> begin(ForwardContext const& context) override;
  void model_weights(WeightList& list) const override;
  // Moves the threshold towards the value that, on average over the step's tokens, mean_depth of a token's factors exceed. Hardens the
  // model once depth.harden_after is reached.
  std::string end_of_step(StepStatistics const& step) override;
  // Sets the offset from the factors of this round. A new offset changes which layers are skipped and thereby the factors of the layers
  // behind them, so several rounds are needed.
  void end_calibration_round(DepthPasses const& passes, AcrossRanks const& ranks) override;
  int calibration_rounds() const override { return has_offset() && is_hard() ? 3 : 0; }
  std::vector<at::Tensor> offsets() const override;
  std::optional<int64_t> first_uncalibrated_layer() const override;
  bool harden() override;

  // `scale: token` with a mean_depth: the threshold that gives this depth depends on the text.
  bool has_offset() const { return by_token && mean_depth > 0; }
  bool is_hard() const { return hardened.item<double>() != 0; }

  bool by_token, keeps_kv;
  int64_t layers;
  double mean_depth, skip_below, cost_weight, threshold_decay, harden_after, scale_init;
  std::vector<std::shared_ptr<LayerScaleImpl>> scales;
  at::Tensor threshold;  // buffer [2]: the value that a token's factor must exceed, and the number of updates
  at::Tensor cut;        // buffer [1], starts at 0: the offset, added to the threshold outside of training
  at::Tensor hardened;   // buffer [1]: 0 or 1
  at::Tensor depth_sum;  // buffer [1], `scale: token`: sum over layers of each layer's mean factor in the previous step

 private:
  // [1]: the value that, on average over tokens, mean_depth of a token's factors exceed. factors_NL: [tokens, layers].
  at::Tensor separating_factor(at::Tensor const& factors_NL) const;
  // Sets the factors of dropped layers to 0. Kept are the mean_depth layers whose factors have the largest mean magnitude or, without a
  // mean_depth, the layers where it is at least skip_below; the layer with the largest is always kept.
  void drop_layers();
};

}  // namespace isobath
