#pragma once
// One forward pass through a nested model's layers: behind each exit only those tokens go on whose branch is deeper, or whom its router
// picks.

#include <memory>
#include <optional>
#include <vector>

#include "model/depth/mod/route.h"
#include "nn/layers.h"

namespace isobath {

// What stands at an exit.
struct ExitImpl : torch::nn::Module {
  // capacity: share of each sequence that is to go on.
  ExitImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, double capacity);

  double capacity;
  std::shared_ptr<RouterImpl> router;  // expert choice; else null
  at::Tensor norm_D;                   // final norm of the tokens that stop here; undefined: that of all branches
};
using Exits = std::vector<std::shared_ptr<ExitImpl>>;

class NestedRun {
 public:
  // gate: null with expert choice. replay_BT: as ModelInput has it.
  NestedRun(Exits const& exits, DepthGateImpl* gate, DepthConfig const& depth, Routing routing, std::optional<int64_t> forced_branch,
            std::vector<at::Tensor> const& replay_BT);

  // Layers in turn, from 0. While training in hindsight every token goes through all of them.
  at::Tensor layer(int64_t layer, BlockImpl& block, at::Tensor const& x_ND, at::Tensor const& tokens_N, Rows const& rows,
                   RotaryTables const& rotary, uint64_t noise_key);

  DepthGateImpl::Choice choice;         // without expert choice
  std::vector<Route> routes;            // past each exit
  std::vector<at::Tensor> branches_ND;  // states at the exits; in hindsight only
  std::vector<RoutedLayer> layers;      // behind the first exit

 private:
  void choose(size_t exit, at::Tensor const& x_ND, Rows const& rows);
  void pick(size_t exit, at::Tensor const& x_ND, at::Tensor const& tokens_N, Rows const& rows, uint64_t noise_key);
  // Of the layer that comes next; undefined where nothing is replayed.
  at::Tensor replay_BT() const { return replays_.empty() ? at::Tensor() : replays_[layers.size()]; }

  Exits const& exits_;
  DepthGateImpl* gate_;
  std::vector<int64_t> depths_;  // of the exits
  Routing routing_;
  bool keeps_kv_, sees_all_;
  int64_t decide_after_;
  std::optional<int64_t> forced_branch_;
  std::vector<at::Tensor> const& replays_;
  at::Tensor weight_N_;  // of what is added behind the last exit
};

}  // namespace isobath
