#include "model/routed_block.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <optional>

#include "nn/ops.h"
#include "nn/routing_scope.h"

namespace isobath {

RoutedBlockImpl::RoutedBlockImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, double capacity)
    : target(depth.target == "block"       ? Target::block
             : depth.target == "attention" ? Target::attention
                                           : Target::mlp),
      keeps_kv(depth.skipped_kv == "keep"),
      trained_capacity(capacity),
      capacity(capacity) {
  block = register_module("block", std::make_shared<BlockImpl>(model));
  router = register_module("router", std::make_shared<RouterImpl>(model, depth, vocab_size));
  if (depth.skip_path != "identity") skip_path = register_module("skip", std::make_shared<SkipPathImpl>(model, depth));
}

at::Tensor partial_delta(BlockImpl& block, Target target, bool keeps_kv, at::Tensor const& x_ND, Rows const& rows,
                         at::Tensor const& index_R, Rows const& selected, RotaryTables const& rotary, at::Tensor const& inner_R) {
  std::optional<RoutingScope> routing_scope(std::in_place);
  at::Tensor const x_RD = ops::gather_rows(x_ND, index_R);
  routing_scope.reset();
  if (target == Target::mlp) return block.mlp->forward(x_RD);
  at::Tensor const attended_RD = keeps_kv ? block.attention->forward_among_all(x_ND, rows, index_R, selected, rotary)
                                          : block.attention->forward(x_RD, selected, rotary);
  if (target == Target::attention) return attended_RD;
  at::Tensor const inner_RD = inner_R.defined() ? attended_RD * inner_R.unsqueeze(1).to(attended_RD.scalar_type()) : attended_RD;
  return attended_RD + block.mlp->forward(x_RD + inner_RD);
}

at::Tensor count_routing(RoutedLayer const& layer, bool keeps_kv) {
  at::Tensor const ran_B = layer.ran_BT.sum(1);
  // Row i of those that ran sees i + 1 rows; with kept keys the row at place t sees t + 1.
  at::Tensor const pairs = keeps_kv ? layer.ran_BT.mul(at::arange(1, layer.ran_BT.size(1) + 1, ran_B.options())).sum()
                                    : (ran_B * (ran_B + 1)).sum().floor_divide(2);
  return at::stack(
      {ran_B.sum(), pairs, layer.decided_BT.sum(), layer.picked_BT.sum(), layer.decided_BT.logical_and(layer.picked_BT).sum()});
}

at::Tensor RoutedBlockImpl::decide(at::Tensor const& logit_N) const {
  if (capacity >= 1) return at::ones_like(logit_N, at::kBool);
  return is_training() ? logit_N.gt(0) : logit_N.gt(router->cut);
}

RoutedBlockImpl::Result RoutedBlockImpl::forward(at::Tensor const& block_x_ND, at::Tensor const& tokens_N, Rows const& rows,
                                                 RotaryTables const& rotary, Routing routing, uint64_t noise_key) {
  int64_t const B = rows.sequences, T = rows.longest, K = rows_of_capacity(capacity, T);
  // what every token does before
  at::Tensor const x_ND = target == Target::mlp ? block_x_ND + block->attention->forward(block_x_ND, rows, rotary) : block_x_ND;

  // score and select
  std::optional<RoutingScope> routing_scope(std::in_place);
  RouterInput const input{x_ND, tokens_N, rows.positions_R, noise_key};
  at::Tensor const score_N = router->score(input);
  at::Tensor const score_BT = score_N.view({B, T});
  at::Tensor const segments_BT = rows.segments_R.defined() ? rows.segments_R.view({B, T}) : at::Tensor();
  at::Tensor index_R = router->select(score_BT, segments_BT, K, noise_key);
  at::Tensor const picked_BT = at::zeros({B * T}, x_ND.options().dtype(at::kBool)).index_fill_(0, index_R, true).view({B, T});
  at::Tensor const logit_N = router->causal_logit(input, score_N);
  if (routing == Routing::calibrate) router->calibrate(logit_N.detach(), B * K);
  at::Tensor const decided_BT = decide(logit_N.detach()).view({B, T});
  Rows const selected = routing == Routing::topk ? select_rows(rows, index_R, K) : select_ragged(rows, decided_BT, index_R);

  // the work, on the selected rows only, weighed and added back
  at::Tensor const ran_BT = routing == Routing::topk ? picked_BT : decided_BT;
  Result result{x_ND, {ran_BT, picked_BT, decided_BT, score_BT.detach()}, {}, {}, {}, {}};
  if (selected.count > 0) {
    routing_scope.reset();
    at::Tensor const delta_RD = partial_delta(*block, target, keeps_kv, x_ND, rows, index_R, selected, rotary, {});
    routing_scope.emplace();
    result.x_ND = ops::scatter_add_rows(x_ND, index_R, delta_RD, router->gate(score_N.index_select(0, index_R)));
  }

  // what the others get instead
  if (skip_path && selected.count < B * T) {
    at::Tensor const skipped_BT = ran_BT.logical_not();
    // T - K of every sequence under top-k, as many as there are else; the latter reads their number from the device.
    at::Tensor const skipped_R =
        routing == Routing::topk ? ops::top_k(skipped_BT.to(score_BT.scalar_type()), T - K) : skipped_BT.view({-1}).nonzero().squeeze(1);
    result.x_ND = ops::scatter_add_rows(result.x_ND, skipped_R, skip_path->forward(ops::gather_rows(x_ND, skipped_R)), {});
  }

  // losses of the causal decision, whose target is top-k's choice
  if (router->causal == RouterImpl::Causal::bce || router->causal == RouterImpl::Causal::predictor) {
    at::Tensor const loss = ops::binary_cross_entropy_sum(logit_N, picked_BT.view({-1}).to(logit_N.scalar_type()));
    (router->causal == RouterImpl::Causal::bce ? result.router_loss : result.predictor_loss) = loss;
  }
  if (router->z_loss) result.z_loss = router->z_loss_sum(score_N);
  if (is_training() && at::GradMode::is_enabled()) router->update_threshold(score_BT, B * rows_of_capacity(trained_capacity, T));

  result.statistics_C = count_routing(result.layer, keeps_kv);

  // what every token does after
  routing_scope.reset();
  if (target == Target::attention) result.x_ND = result.x_ND + block->mlp->forward(result.x_ND);
  return result;
}

}  // namespace isobath
