#pragma once
// depth.kind: scaled. A learned factor on what each layer adds; once the model is hardened small factors are skips.

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

  // Of tokens all layers alike, for by what they will differ is not known; of whole layers the first, though any may be left.
  std::vector<double> capacities() const override;
  std::vector<double> most_capacities() const override;
  std::vector<double> step_capacities(uint64_t seed, int64_t step, double progress) const override;
  bool steps_differ() const override { return true; }

  void add_costs(Ledger& ledger, int64_t vocab_size) const override;
  void add_parameters(Parameters& count, int64_t vocab_size) const override;

  bool by_token() const { return depth_.scale == ScaleBy::token; }
};

}  // namespace isobath
