#pragma once
// depth.kind: nested. At each exit only those tokens go on whose branch is deeper, or whom the exit's router selects.

#include <memory>
#include <optional>
#include <vector>

#include "model/depth/nested/gate.h"
#include "model/depth/route.h"

namespace isobath {

// What stands at an exit.
struct ExitImpl : torch::nn::Module {
  // capacity: share of each sequence that is to go on; base_rate: of the tokens that are left there.
  ExitImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, double capacity, double base_rate);

  double capacity, base_rate;
  std::shared_ptr<RouterImpl> router;  // expert choice; else null
  at::Tensor norm_D;                   // final norm of the tokens that stop here; undefined: that of all branches
};

struct NestedModule : DepthModule {
  NestedModule(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size);

  std::unique_ptr<DepthPass> begin(ForwardContext const& context) override;
  void model_weights(WeightList& list) const override;
  std::string end_of_step(StepStatistics const& step) override;
  void calibrate(int64_t layer, BlockImpl& block, DepthPasses const& passes, std::vector<at::Tensor> const& x_ND) override;
  std::vector<at::Tensor> offsets() const override;
  std::optional<int64_t> undecided_layer() const override;
  std::string decide_in_training() const override { return "train with depth.causal: bce or predictor"; }
  void force_branch(std::optional<int64_t> branch) override { forced_branch = branch; }

  int64_t layers, decide_after;
  std::vector<int64_t> depths;  // of the exits
  bool keeps_kv, has_exit_norms;
  std::vector<std::shared_ptr<ExitImpl>> exits;
  std::shared_ptr<DepthGateImpl> gate;  // null with expert choice
  std::optional<int64_t> forced_branch;
};

}  // namespace isobath
