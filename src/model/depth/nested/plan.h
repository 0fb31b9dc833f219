#pragma once
// depth.kind: nested. Branches of different depth share their first layers; a token leaves at an exit or goes on to the last layer.

#include "model/depth/plan.h"

namespace isobath {

class NestedPlan : public DepthPlan {
 public:
  using DepthPlan::DepthPlan;

  std::string describe() const override;
  std::string explain_shares() const override { return "A layer runs the tokens whose branch is deeper; "; }
  bool uses_noncausal_routing() const override { return is_expert_choice(); }
  std::vector<int64_t> routed_layers() const override;
  std::vector<int64_t> branch_depths() const override;
  double mean_depth() const override;
  int64_t layer_of_weights(int64_t layer) const override;
  int64_t fewest_layers() const override;
  std::string fixed_layers_reason() const override;

  std::vector<double> capacities() const override;
  std::vector<double> training_capacities() const override;
  std::vector<double> most_capacities() const override;
  std::vector<double> step_capacities(uint64_t seed, int64_t step, double progress) const override;
  bool capacity_changes() const override { return depth_.capacity_warmup > 0; }

  void add_costs(Ledger& ledger, int64_t vocab_size) const override;
  void add_parameters(Parameters& count, int64_t vocab_size) const override;

  // Planned share of the tokens in each branch: equal shares or, where depth.mean_depth is given, shares proportional to exp(mu * depth of
  // the branch) with that mean depth.
  std::vector<double> branch_shares() const;
  // Whether a router at each exit selects the tokens that go on; otherwise one depth network gives every token its branch.
  bool is_expert_choice() const { return depth_.choice == BranchChoice::expert; }

 private:
  int64_t gate_weights() const;
  int64_t exits() const { return static_cast<int64_t>(depth_.exits.size()); }
};

}  // namespace isobath
