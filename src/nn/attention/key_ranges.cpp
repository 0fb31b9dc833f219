#include "nn/attention/key_ranges.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

namespace isobath {

namespace {

constexpr int64_t most_documents = int64_t{1} << 40;  // segments_R is below this

}  // namespace

KeyRanges ranges_among(Rows const& rows) {
  int64_t const longest = std::max<int64_t>(1, rows.longest);
  at::Tensor const row_R = at::arange(rows.count, rows.positions_R.options()), cell_R = rows.dense() ? row_R : rows.cells_R;
  at::Tensor const place_R = cell_R.remainder(longest);  // in its sequence
  KeyRanges ranges{cell_R.floor_divide(longest), at::zeros_like(place_R), place_R + 1};
  if (rows.segments_R.defined()) {
    at::Tensor const document_R = ranges.sequence_R * most_documents + rows.segments_R;  // ascends over all rows
    ranges.from_R = at::searchsorted(document_R, document_R) - (row_R - place_R);
  }
  return ranges;
}

KeyRanges ranges_among_all(Rows const& rows, at::Tensor const& index_R) {
  KeyRanges const all = ranges_among(rows);
  auto const of_queries = [&](at::Tensor const& x_N) { return x_N.index_select(0, index_R); };
  return {of_queries(all.sequence_R), of_queries(all.from_R), of_queries(all.to_R)};
}

}  // namespace isobath
