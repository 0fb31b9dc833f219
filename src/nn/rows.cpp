#include "nn/rows.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/nonzero.h>

namespace isobath {

Rows all_rows(int64_t B, int64_t T, at::Tensor const& positions_BT, at::Tensor const& segments_BT, at::Device device) {
  Rows rows;
  rows.sequences = B;
  rows.longest = T;
  rows.count = B * T;
  rows.positions_R = positions_BT.defined()
                         ? positions_BT.reshape({-1})
                         : at::arange(T, at::TensorOptions().dtype(at::kLong).device(device)).expand({B, T}).contiguous().view({-1});
  if (segments_BT.defined()) rows.segments_R = segments_BT.reshape({-1});
  return rows;
}

at::Tensor noise_counters(Rows const& rows) {
  return rows.cache ? rows.positions_R
                    : at::arange(rows.first_noise_counter, rows.first_noise_counter + rows.count, rows.positions_R.options());
}

namespace {

// The rows index_R with their data per row; the caller sets `longest` and `count`.
Rows rows_at(Rows const& rows, at::Tensor const& index_R) {
  Rows selected;
  selected.sequences = rows.sequences;
  selected.positions_R = rows.positions_R.index_select(0, index_R);
  if (rows.segments_R.defined()) selected.segments_R = rows.segments_R.index_select(0, index_R);
  selected.cache = rows.cache;
  if (rows.slots_R.defined()) selected.slots_R = rows.slots_R.index_select(0, index_R);
  selected.one_row_per_text = rows.one_row_per_text;
  return selected;
}

}  // namespace

Rows select_rows(Rows const& rows, at::Tensor const& index_R, int64_t rows_per_sequence) {
  Rows selected = rows_at(rows, index_R);
  selected.longest = rows_per_sequence;
  selected.count = rows.sequences * rows_per_sequence;
  return selected;
}

Rows select_ragged(Rows const& rows, at::Tensor const& mask_BT, at::Tensor& index_R) {
  index_R = mask_BT.reshape({-1}).nonzero().squeeze(1);
  Rows selected = rows_at(rows, index_R);
  selected.count = index_R.size(0);
  if (rows.one_row_per_text) {  // each row is a sequence of its own: the selected rows are a smaller batch
    selected.sequences = selected.count;
    selected.longest = 1;
    return selected;
  }
  at::Tensor const counts_BT = mask_BT.cumsum(1);  // how many rows of the sequence up to and including this token
  selected.longest = selected.count ? counts_BT.select(1, -1).max().item<int64_t>() : 0;
  if (selected.count != selected.sequences * selected.longest) {
    at::Tensor const first_cell_B1 = at::arange(rows.sequences, index_R.options()).unsqueeze(1) * selected.longest;
    selected.cells_R = (counts_BT - 1 + first_cell_B1).reshape({-1}).index_select(0, index_R);
  }
  return selected;
}

}  // namespace isobath
