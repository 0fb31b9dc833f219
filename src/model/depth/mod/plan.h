#pragma once
// depth.kind: mod. Mixture-of-Depths (Raposo et al. 2024): every `stride`-th layer from `offset` on runs only the tokens of each sequence
// that its router selects.

#include "model/depth/plan.h"

namespace isobath {

class ModPlan : public DepthPlan {
 public:
  using DepthPlan::DepthPlan;

  std::string describe() const override;
  std::string explain_shares() const override;
  bool uses_noncausal_routing() const override { return true; }
  bool has_capacity() const override { return true; }
  std::vector<int64_t> routed_layers() const override;
  int64_t fewest_layers() const override { return (depth_.layers.empty() ? depth_.offset : depth_.layers.back()) + 1; }

  // depth.capacity interpolated linearly over the routed layers: the first entry is the first layer's capacity, the last entry the last
  // layer's.
  std::vector<double> capacities() const override;
  std::vector<double> most_capacities() const override;
  // With depth.capacity_random each step draws one capacity for all layers, uniformly (as in CoTFormer, Mohtashami et al. 2023). During
  // depth.capacity_warmup capacities fall linearly from 1.
  std::vector<double> step_capacities(uint64_t seed, int64_t step, double progress) const override;
  bool capacity_changes() const override { return depth_.capacity_warmup > 0 || !depth_.capacity_random.empty(); }

  void add_costs(Ledger& ledger, int64_t vocab_size) const override;
  void add_parameters(Parameters& count, int64_t vocab_size) const override;
};

}  // namespace isobath
