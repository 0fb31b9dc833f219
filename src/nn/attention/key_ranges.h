#pragma once
// The keys that each query attends to: one half-open range among the sorted keys of its own sequence. Causal attention, routed rows, kept
// keys and isolated documents differ only in these ranges.

#include <ATen/core/Tensor.h>

#include "nn/rows.h"

namespace isobath {

// Query r belongs to sequence sequence_R[r] and attends to that sequence's keys from_R[r] to to_R[r] - 1, counted from the sequence's first
// key. Queries are sorted: both bounds ascend within a sequence. No range is empty. int64, on the rows' device.
struct KeyRanges {
  at::Tensor sequence_R, from_R, to_R;
};

// Every row is a query and a key: it attends to the rows of its sequence up to itself, of its own document where documents are isolated.
KeyRanges ranges_among(Rows const& rows);
// The queries are the rows index_R of `rows` (which must be dense), the keys all of its rows.
KeyRanges ranges_among_all(Rows const& rows, at::Tensor const& index_R);

}  // namespace isobath
