#include "model/depth/mod/routed_block.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/stack.h>

#include <optional>

#include "nn/ops/ops.h"
#include "nn/router/routing_scope.h"

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
  bool const all = selected.count == rows.count;
  std::optional<RoutingScope> routing_scope(std::in_place);
  at::Tensor const x_RD = all ? x_ND : ops::gather_rows(x_ND, index_R);
  routing_scope.reset();
  if (target == Target::mlp) return block.mlp->forward(x_RD);
  at::Tensor const attended_RD = keeps_kv && !all ? block.attention->forward_among_all(x_ND, rows, index_R, selected, rotary)
                                                  : block.attention->forward(x_RD, selected, rotary);
  if (target == Target::attention) return attended_RD;
  at::Tensor const inner_RD = inner_R.defined() ? attended_RD * inner_R.unsqueeze(1).to(attended_RD.scalar_type()) : attended_RD;
  return attended_RD + block.mlp->forward(x_RD + inner_RD);
}

at::Tensor keep_keys(BlockImpl& block, bool keeps_kv, at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary) {
  if (keeps_kv && rows.cache) block.attention->store(x_ND, rows, rotary);
  return x_ND;
}

at::Tensor count_routing(RoutedLayer const& layer, bool keeps_kv) {
  at::Tensor const ran_B = layer.ran_BT.sum(1);
  // Row i of those that ran sees i + 1 rows; with kept keys the row at place t sees t + 1.
  at::Tensor const pairs = keeps_kv ? layer.ran_BT.mul(at::arange(1, layer.ran_BT.size(1) + 1, ran_B.options())).sum()
                                    : (ran_B * (ran_B + 1)).sum().floor_divide(2);
  return at::stack(
      {ran_B.sum(), pairs, layer.decided_BT.sum(), layer.picked_BT.sum(), layer.decided_BT.logical_and(layer.picked_BT).sum()});
}

RoutedBlockImpl::Result RoutedBlockImpl::forward(at::Tensor const& block_x_ND, at::Tensor const& tokens_N, Rows const& rows,
                                                 RotaryTables const& rotary, Routing routing, at::Tensor const& replay_BT,
                                                 uint64_t noise_key) {
  // what every token does before
  at::Tensor const x_ND = target == Target::mlp ? block_x_ND + block->attention->forward(block_x_ND, rows, rotary) : block_x_ND;

  std::optional<RoutingScope> routing_scope(std::in_place);
  RouterInput const input{x_ND, tokens_N, rows, noise_key};
  Result result{x_ND, route(*router, input, rows, nullptr, capacity, trained_capacity, routing, replay_BT), {}};
  Route const& chosen = result.route;

  // the work, on the selected rows only, weighed and added back
  if (chosen.selected.count == 0) {
    keep_keys(*block, keeps_kv, x_ND, rows, rotary);
  } else {
    routing_scope.reset();
    at::Tensor const delta_RD = partial_delta(*block, target, keeps_kv, x_ND, rows, chosen.index_R, chosen.selected, rotary, {});
    routing_scope.emplace();
    result.x_ND = ops::scatter_add_rows(x_ND, chosen.index_R, delta_RD, router->gate(chosen.score_N.index_select(0, chosen.index_R)));
  }

  // what the others get instead
  int64_t const B = rows.sequences, T = rows.longest;
  if (skip_path && chosen.selected.count < B * T) {
    at::Tensor const skipped_BT = chosen.layer.ran_BT.logical_not();
    // T - K of every sequence under top-k, as many as there are else; the latter reads their number from the device.
    at::Tensor const skipped_R = routing == Routing::topk
                                     ? ops::top_k(skipped_BT.to(chosen.score_N.scalar_type()), T - chosen.selected.longest)
                                     : skipped_BT.view({-1}).nonzero().squeeze(1);
    result.x_ND = ops::scatter_add_rows(result.x_ND, skipped_R, skip_path->forward(ops::gather_rows(x_ND, skipped_R)), {});
  }

  if (!rows.cache) result.statistics_C = count_routing(chosen.layer, keeps_kv);

  // what every token does after
  routing_scope.reset();
  if (target == Target::attention) result.x_ND = result.x_ND + block->mlp->forward(result.x_ND);
  return result;
}

}  // namespace isobath
