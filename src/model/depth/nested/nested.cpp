#include "model/depth/nested/nested.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>

#include "model/depth/nested/branches.h"
#include "model/depth/mod/routed_block.h"
#include "nn/ops/ops.h"
#include "nn/router/routing_scope.h"

namespace isobath {

ExitImpl::ExitImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, double capacity) : capacity(capacity) {
  if (is_expert_choice(depth)) router = register_module("router", std::make_shared<RouterImpl>(model, depth, vocab_size));
  if (depth.exit_norms) norm_D = register_parameter("norm", at::ones({model.width}));
}

NestedRun::NestedRun(Exits const& exits, DepthGateImpl* gate, DepthConfig const& depth, Routing routing,
                     std::optional<int64_t> forced_branch, std::vector<at::Tensor> const& replay_BT)
    : exits_(exits),
      gate_(gate),
      depths_(depth.exits),
      routing_(routing),
      keeps_kv_(depth.skipped_kv == "keep"),
      sees_all_(gate && gate->sees_all_branches() && gate->is_training() && at::GradMode::is_enabled()),
      decide_after_(resolved_decide_after(depth)),
      forced_branch_(forced_branch),
      replays_(replay_BT) {
  routes.reserve(exits.size());  // each is chosen among those before it
}

at::Tensor NestedRun::layer(int64_t layer, BlockImpl& block, at::Tensor const& x_ND, at::Tensor const& tokens_N, Rows const& rows,
                            RotaryTables const& rotary, uint64_t noise_key) {
  if (gate_ && layer == decide_after_) {
    choice = gate_->choose(x_ND, rows, noise_key, routing_ == Routing::calibrate);
    if (forced_branch_) {
      choice.branch_BT.fill_(*forced_branch_);
      choice.score_NB.reset();
    }
  }
  size_t const exit = routes.size();
  if (exit < depths_.size() && depths_[exit] == layer) {
    if (gate_)
      choose(exit, x_ND, rows);
    else
      pick(exit, x_ND, tokens_N, rows, noise_key);
  }
  if (routes.empty()) return block.forward(x_ND, rows, rotary);

  Route const& chosen = routes.back();
  layers.push_back(chosen.layer);
  if (sees_all_) return block.forward(x_ND, rows, rotary);
  if (chosen.selected.count == 0) return keep_keys(block, keeps_kv_, x_ND, rows, rotary);
  at::Tensor const delta_RD = partial_delta(block, Target::block, keeps_kv_, x_ND, rows, chosen.index_R, chosen.selected, rotary, {});
  return ops::scatter_add_rows(x_ND, chosen.index_R, delta_RD,
                               weight_N_.defined() ? weight_N_.index_select(0, chosen.index_R) : at::Tensor());
}

// Tokens go on whose branch is deeper.
void NestedRun::choose(size_t exit, at::Tensor const& x_ND, Rows const& rows) {
  auto const branch = static_cast<int64_t>(exit);
  at::Tensor const deeper_BT = choice.branch_BT.gt(branch), decided_BT = sees_all_ ? at::ones_like(deeper_BT) : deeper_BT;
  at::Tensor const replayed_BT = replay_BT(), ran_BT = replayed_BT.defined() && !sees_all_ ? replayed_BT : decided_BT;
  at::Tensor const score_BT = choice.probability_NB.defined() ? choice.probability_NB.detach().slice(1, branch + 1).sum(1).view_as(ran_BT)
                                                              : deeper_BT.to(ops::wide_options(x_ND));
  Route& chosen = routes.emplace_back();
  chosen.layer = {ran_BT, decided_BT, decided_BT, score_BT};
  if (!at::GradMode::is_enabled() && !rows.cache && choice.score_NB.defined())
    chosen.layer.margin_BT = gate_->margin_N(choice, branch).view_as(ran_BT);
  weight_N_ = gate_->weight_N(choice, branch);
  if (sees_all_)
    branches_ND.push_back(x_ND);
  else
    chosen.selected = select_ragged(rows, ran_BT, chosen.index_R);
}

// The exit's router picks who goes on, of those that went on before.
void NestedRun::pick(size_t exit, at::Tensor const& x_ND, at::Tensor const& tokens_N, Rows const& rows, uint64_t noise_key) {
  RoutingScope const routing_scope;
  ExitImpl& at = *exits_[exit];
  RouterInput const input{x_ND, tokens_N, rows, noise_key};
  Route const* before = exit > 0 ? &routes.back() : nullptr;
  Route& chosen = routes.emplace_back(route(*at.router, input, rows, before, at.capacity, at.capacity, routing_, replay_BT()));
  weight_N_ = at.router->gate(chosen.score_N);
  if (!forced_branch_) return;
  chosen.layer.ran_BT = at::full_like(chosen.layer.ran_BT, *forced_branch_ > static_cast<int64_t>(exit));
  chosen.selected = select_ragged(rows, chosen.layer.ran_BT, chosen.index_R);
}

}  // namespace isobath
