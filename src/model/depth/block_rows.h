#pragma once
// Runs a block, or one half of it, on the selected rows.

#include "model/depth/kind.h"

namespace isobath {

// The rows that a layer runs: `rows` describes the rows index_R of all rows.
struct SelectedRows {
  at::Tensor index_R;
  Rows rows;
  at::Tensor inner_R = {};  // in a whole block the MLP reads x plus this factor times what attention adds; undefined: 1
};

// What that part of `block` adds to the selected rows: [R, D]. keeps_kv: the other rows give keys and values, too.
at::Tensor selected_delta(BlockImpl& block, RoutedPart part, bool keeps_kv, at::Tensor const& x_ND, ForwardContext const& context,
                          SelectedRows const& selected);
// The case that no row is selected: returns x_ND unchanged. With keeps_kv and a cache, the keys and values of all rows are still stored.
at::Tensor skip_all_rows(BlockImpl& block, bool keeps_kv, at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary);

}  // namespace isobath
