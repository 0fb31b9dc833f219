#pragma once
// depth.kind: mod. Every `stride`-th layer from `offset` on is a routed layer (Raposo et al. 2024).

#include <map>

#include "model/depth/mod/routed_layer.h"

namespace isobath {

struct ModModule : DepthModule {
  ModModule(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size);

  std::unique_ptr<DepthPass> begin(ForwardContext const& context) override;
  void layer_weights(int64_t layer, WeightList& list) const override;
  std::string end_of_step(StepStatistics const& step) override;
  void calibrate(int64_t layer, BlockImpl& block, DepthPasses const& passes, std::vector<at::Tensor> const& x_ND,
                 AcrossRanks const& ranks) override;
  void end_calibration_round(DepthPasses const& passes, AcrossRanks const& ranks) override;
  // The first gives each layer its own offset; in the others the layers' decisions settle to the one that they share.
  int calibration_rounds() const override { return shares_budget ? 6 : 1; }
  void share_budget(bool shared) override { shares_budget = shared; }
  std::vector<at::Tensor> offsets() const override;
  std::optional<int64_t> first_uncalibrated_layer() const override;
  std::string calibration_alternative() const override { return "train with depth.causal: bce or predictor"; }
  void set_capacities(std::vector<double> const& capacities) override;

  int64_t layers;
  bool keeps_kv;
  bool shares_budget = false;
  RouterCalibration of_all;  // a round's logits of all layers
  int round = 0;
  std::map<int64_t, std::shared_ptr<RoutedLayerImpl>> routed;  // by layer
};

}  // namespace isobath
