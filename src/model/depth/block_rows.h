#pragma once
// Runs a block, or one half of it, on the selected rows.

#include "model/block.h"

namespace isobath {

// What that part of `block` adds to the selected rows: [R, D]. `selected` describes the rows index_R. keeps_kv: the other rows give keys
// and values, too. In a whole block the MLP reads x plus inner_R times what attention adds; undefined: 1.
at::Tensor partial_delta(BlockImpl& block, RoutedPart part, bool keeps_kv, at::Tensor const& x_ND, Rows const& rows,
                         at::Tensor const& index_R, Rows const& selected, RotaryTables const& rotary, at::Tensor const& inner_R);
// The case that no row is selected: returns x_ND unchanged. With keeps_kv and a cache, the keys and values of all rows are still stored.
at::Tensor keep_keys(BlockImpl& block, bool keeps_kv, at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary);

}  // namespace isobath
