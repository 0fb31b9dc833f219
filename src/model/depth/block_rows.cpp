#include "model/depth/block_rows.h"

#include <ATen/TensorOperators.h>

#include <optional>

#include "nn/ops/ops.h"
#include "nn/router/routing_scope.h"

namespace isobath {

at::Tensor selected_delta(BlockImpl& block, RoutedPart part, bool keeps_kv, at::Tensor const& x_ND, ForwardContext const& context,
                          SelectedRows const& selected) {
  auto const& [index_R, rows, inner_R] = selected;
  bool const all = rows.count == context.rows.count;
  std::optional<RoutingScope> routing_scope(std::in_place);
  at::Tensor const x_RD = all ? x_ND : ops::gather_rows(x_ND, index_R);
  routing_scope.reset();
  if (part == RoutedPart::mlp) return block.mlp->forward(x_RD);
  at::Tensor const attended_RD = keeps_kv && !all ? block.attention->forward_among_all(x_ND, context.rows, index_R, rows, context.rotary)
                                                  : block.attention->forward(x_RD, rows, context.rotary);
  if (part == RoutedPart::attention) return attended_RD;
  at::Tensor const inner_RD = inner_R.defined() ? attended_RD * inner_R.unsqueeze(1).to(attended_RD.scalar_type()) : attended_RD;
  return attended_RD + block.mlp->forward(x_RD + inner_RD);
}

at::Tensor skip_all_rows(BlockImpl& block, bool keeps_kv, at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary) {
  if (keeps_kv && rows.cache) block.attention->store(x_ND, rows, rotary);
  return x_ND;
}

}  // namespace isobath
