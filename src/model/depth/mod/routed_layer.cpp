#include "model/depth/mod/routed_layer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/nonzero.h>

#include <optional>

#include "model/depth/block_rows.h"
#include "nn/ops/ops.h"
#include "nn/router/routing_scope.h"

namespace isobath {

RoutedLayerImpl::RoutedLayerImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, double capacity)
    : part(depth.target), keeps_kv(depth.skipped_kv == SkippedKv::keep), trained_capacity(capacity), capacity(capacity) {
  router = register_module("router", std::make_shared<RouterImpl>(model, depth, vocab_size));
  if (depth.skip_path != SkipPath::identity) skip_path = register_module("skip", std::make_shared<SkipPathImpl>(model, depth));
}

at::Tensor RoutedLayerImpl::routed_input(BlockImpl& block, at::Tensor const& x_ND, ForwardContext const& context) const {
  return part == RoutedPart::mlp ? x_ND + block.attention->forward(x_ND, context.rows, context.rotary) : x_ND;
}

RoutedLayerImpl::Result RoutedLayerImpl::forward(BlockImpl& block, at::Tensor const& block_x_ND, ForwardContext const& context,
                                                 uint64_t noise_key, at::Tensor const& replay_BT) {
  Rows const& rows = context.rows;
  // the half that comes first, where it runs for every token
  at::Tensor const x_ND = routed_input(block, block_x_ND, context);

  std::optional<RoutingScope> routing_scope(std::in_place);
  RouterInput const input{x_ND, context.tokens_N, rows, noise_key};
  Result result{x_ND, route(*router, input, context, nullptr, capacity, replay_BT)};
  Route const& chosen = result.route;

  // the routed part, for the selected rows only, weighted by the gate and added to the residual stream
  if (chosen.selected.count == 0) {
    skip_all_rows(block, keeps_kv, x_ND, rows, context.rotary);
  } else {
    routing_scope.reset();
    at::Tensor const delta_RD = selected_delta(block, part, keeps_kv, x_ND, context, {chosen.index_R, chosen.selected});
    routing_scope.emplace();
    result.x_ND = ops::scatter_add_rows(x_ND, chosen.index_R, delta_RD, router->gate(chosen.score_N.index_select(0, chosen.index_R)));
  }

  // the skip path, for the tokens that were not selected
  int64_t const B = rows.sequences, T = rows.longest;
  if (skip_path && chosen.selected.count < B * T) {
    at::Tensor const skipped_BT = chosen.layer.executed_BT.logical_not();
    // Top-k leaves T - K skipped tokens in every sequence; causal routing any number, which nonzero() reads from the device.
    at::Tensor const skipped_R = context.routing == Routing::topk
                                     ? ops::top_k(skipped_BT.to(chosen.score_N.scalar_type()), T - chosen.selected.longest)
                                     : skipped_BT.view({-1}).nonzero().squeeze(1);
    result.x_ND = ops::scatter_add_rows(result.x_ND, skipped_R, skip_path->forward(ops::gather_rows(x_ND, skipped_R)), {});
  }

  // the half that comes last, where it runs for every token
  routing_scope.reset();
  if (part == RoutedPart::attention) result.x_ND = result.x_ND + block.mlp->forward(result.x_ND);
  return result;
}

void RoutedLayerImpl::weights(std::string const& layer, WeightList& list) const {
  router->weights(layer, trained_capacity, list);
  if (skip_path) skip_path->weights(layer, list);
}

}  // namespace isobath
