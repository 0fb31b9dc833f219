#pragma once
// A block, or a half of it, on some of the rows.

#include "model/block.h"

namespace isobath {

// The update of the rows index_R (what `selected` is made of) by that part of `block`; keeps_kv: the others give keys and values, too. The
// MLP sees what attention adds weighted with inner_R; undefined: 1.
at::Tensor partial_delta(BlockImpl& block, RoutedPart part, bool keeps_kv, at::Tensor const& x_ND, Rows const& rows,
                         at::Tensor const& index_R, Rows const& selected, RotaryTables const& rotary, at::Tensor const& inner_R);
// The same when nobody is selected: x_ND as it is. While text is generated, kept keys and values are stored all the same.
at::Tensor keep_keys(BlockImpl& block, bool keeps_kv, at::Tensor const& x_ND, Rows const& rows, RotaryTables const& rotary);

}  // namespace isobath
