#include "model/nested.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>

#include "model/routed_block.h"
#include "nn/ops.h"

namespace isobath {

NestedRun::NestedRun(DepthGateImpl& gate, DepthConfig const& depth, std::optional<int64_t> forced_branch)
    : gate_(gate),
      keeps_kv_(depth.skipped_kv == "keep"),
      sees_all_(gate.sees_all_branches() && gate.is_training() && at::GradMode::is_enabled()),
      decide_after_(resolved_decide_after(depth)),
      forced_branch_(forced_branch) {}

at::Tensor NestedRun::layer(int64_t layer, BlockImpl& block, at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary,
                            uint64_t noise_key, bool calibrate) {
  if (layer == decide_after_) {
    choice = gate_.choose(x_ND, rows, noise_key, calibrate);
    if (forced_branch_) choice.branch_BT.fill_(*forced_branch_);
  }
  if (gate_.depths[static_cast<size_t>(exit_ + 1)] == layer) leave(++exit_, x_ND, rows);
  if (exit_ < 0) return block.forward(x_ND, rows, rotary);

  layers.push_back({ran_BT_, ran_BT_, ran_BT_, goes_on_BT_});
  if (sees_all_) return block.forward(x_ND, rows, rotary);
  if (selected_.count == 0) return x_ND;
  at::Tensor const delta_RD = partial_delta(block, Target::block, keeps_kv_, x_ND, rows, index_R_, selected_, rotary, {});
  return ops::scatter_add_rows(x_ND, index_R_, delta_RD, weight_N_.defined() ? weight_N_.index_select(0, index_R_) : at::Tensor());
}

void NestedRun::leave(int64_t exit, at::Tensor const& x_ND, Rows const& rows) {
  at::Tensor const goes_on_BT = choice.branch_BT.gt(exit);
  ran_BT_ = sees_all_ ? at::ones_like(goes_on_BT) : goes_on_BT;
  goes_on_BT_ = choice.probability_NB.defined() ? choice.probability_NB.detach().slice(1, exit + 1).sum(1).view_as(ran_BT_)
                                                : goes_on_BT.to(ops::wide_options(x_ND));
  weight_N_ = gate_.weight_N(choice, exit);
  if (sees_all_)
    branches_ND.push_back(x_ND);
  else
    selected_ = select_ragged(rows, ran_BT_, index_R_);
}

}  // namespace isobath
