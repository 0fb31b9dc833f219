#pragma once
// depth.kind: scaled. A learned factor multiplies what each layer adds; once the model is hardened, layers with a small factor are skipped.

#include "model/depth/plan.h"

namespace isobath {

class ScaledPlan : public DepthPlan {
 public:
  using DepthPlan::DepthPlan;

  std::string describe() const override;
  std::string explain_shares() const override;
  std::vector<int64_t> routed_layers() const override;
  double mean_depth() const override { return depth_.mean_depth > 0 ? depth_.mean_depth : static_cast<double>(model_.layers); }
  int64_t fewest_layers() const override;

  // With `scale: token` all layers get the same share, because how layers will differ is not known before training. Otherwise the first
  // mean_depth layers get 1 and the rest 0, although hardening may keep any layers.
  std::vector<double> capacities() const override;
  std::vector<double> most_capacities() const override;
  std::vector<double> step_capacities(uint64_t seed, int64_t step, double progress) const override;
  bool steps_differ() const override { return true; }

  void add_costs(Ledger& ledger, int64_t vocab_size) const override;
  void add_parameters(Parameters& count, int64_t vocab_size) const override;

  bool by_token() const { return depth_.scale == ScaleBy::token; }
};

}  // namespace isobath
