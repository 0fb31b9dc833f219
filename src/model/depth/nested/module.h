#pragma once
// depth.kind: nested. Past each exit go only the tokens whose branch is deeper or, with `choice: expert`, that the exit's router selects.

#include <memory>
#include <optional>
#include <vector>

#include "model/depth/nested/gate.h"
#include "model/depth/route.h"

namespace isobath {

// The router and the final norm of one exit.
struct ExitImpl : torch::nn::Module {
  // capacity: planned share of all tokens that go on past this exit; base_rate: the same as a share of the tokens that reach it.
  ExitImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, double capacity, double base_rate);

  double capacity, base_rate;
  std::shared_ptr<RouterImpl> router;  // expert choice; else null
  at::Tensor norm_D;                   // final norm of the tokens that stop here; undefined: the model's final norm
};

struct NestedModule : DepthModule {
  NestedModule(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size);

  std::unique_ptr<DepthPass> begin(ForwardContext const& context) override;
  void model_weights(WeightList& list) const override;
  std::string end_of_step(StepStatistics const& step) override;
  void calibrate(int64_t layer, BlockImpl& block, DepthPasses const& passes, std::vector<at::Tensor> const& x_ND,
                 AcrossRanks const& ranks) override;
  std::vector<at::Tensor> offsets() const override;
  std::optional<int64_t> first_uncalibrated_layer() const override;
  std::string calibration_alternative() const override { return "train with depth.causal: bce or predictor"; }
  void set_capacities(std::vector<double> const& capacities) override;  // of the routed layers; expert choice
  void force_branch(std::optional<int64_t> branch) override { forced_branch = branch; }

  int64_t layers, decide_after;
  std::vector<int64_t> depths;  // of the exits
  bool keeps_kv, has_exit_norms;
  std::vector<std::shared_ptr<ExitImpl>> exits;
  std::shared_ptr<DepthGateImpl> gate;  // null with expert choice
  std::optional<int64_t> forced_branch;
};

}  // namespace isobath
