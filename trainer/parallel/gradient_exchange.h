#pragma once
// Sums the gradients of the ranks while the backward pass still runs. With parallel.shard: optimizer (ZeRO-1, Rajbhandari et al. 2020,
// section 5) each rank gets the sums of its part of the parameters alone, updates that part, and hands it to the others. Of parameters that
// are used in a narrower type (ParameterGroup::compute_type) it then holds all in that type, and its part in fp32 (the masters).

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "config/sections/parallel.h"
#include "trainer/parallel/ranks.h"
#include "trainer/train/parameter_group.h"

namespace isobath {

class GradientExchange {
 public:
  // The same groups on every rank, of parameters that all want gradients. Parameters become views of flat buffers when they are sharded.
  GradientExchange(Ranks const& ranks, std::vector<ParameterGroup> groups, ParallelConfig const& parallel);
  ~GradientExchange();
  GradientExchange(GradientExchange const&) = delete;
  GradientExchange& operator=(GradientExchange const&) = delete;

  // The groups as this rank's optimizers hold them: whole parameters, or the parts that are its own.
  std::vector<ParameterGroup> const& own_groups() const;
  bool shards() const;

  void zero_grad();  // of all parameters, the other ranks' parts as well
  // The next backward pass is the step's last: each bucket is sent off as soon as its gradients are complete.
  void arm();
  // Waits for all sums, which then are the gradients of own_groups(). A parameter without a gradient on every rank stays without one.
  // Also sums values_V (fp64, of the same length on every rank) over the ranks, in place.
  void finish(at::Tensor const& values_V);
  // After the optimizers' step: hands the own parts to the others. Nothing when not sharded.
  void gather_parameters();
  // Time that the host waited for others in finish() and gather_parameters(), since the beginning.
  double wait_seconds() const;

 private:
  friend class WholeWeights;
  struct State;
  std::unique_ptr<State> state_;
};

// While it lives, between steps, every rank has all weights in fp32, as files hold them; what is written into them counts. All ranks make
// one at the same time. exchange: null of one process alone.
class WholeWeights {
 public:
  explicit WholeWeights(GradientExchange* exchange);
  ~WholeWeights();
  WholeWeights(WholeWeights const&) = delete;
  WholeWeights& operator=(WholeWeights const&) = delete;

 private:
  GradientExchange* exchange_;
};

}  // namespace isobath
