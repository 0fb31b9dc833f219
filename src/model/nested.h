#pragma once
// One forward pass through a nested model's layers: behind each exit only those tokens go on whose branch is deeper.

#include <optional>
#include <vector>

#include "model/language_model.h"
#include "nn/layers.h"

namespace isobath {

class NestedRun {
 public:
  NestedRun(DepthGateImpl& gate, DepthConfig const& depth, std::optional<int64_t> forced_branch);

  // Layers in turn, from 0. While training in hindsight every token goes through all of them.
  at::Tensor layer(int64_t layer, BlockImpl& block, at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary,
                   uint64_t noise_key, bool calibrate);

  DepthGateImpl::Choice choice;
  std::vector<at::Tensor> branches_ND;  // states at the exits; in hindsight only
  std::vector<RoutedLayer> layers;      // behind the first exit

 private:
  void leave(int64_t exit, at::Tensor const& x_ND, Rows const& rows);

  DepthGateImpl& gate_;
  bool keeps_kv_, sees_all_;
  int64_t decide_after_;
  std::optional<int64_t> forced_branch_;
  int64_t exit_ = -1;  // the last one passed
  // Of the tokens that go on behind it.
  at::Tensor ran_BT_, index_R_, weight_N_, goes_on_BT_;
  Rows selected_;
};

}  // namespace isobath
