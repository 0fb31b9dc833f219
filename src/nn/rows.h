#pragma once
// Which rows a block works on. All routing comes down to this: a block gets x_RD, the rows that are present, and a Rows that describes
// them.

#include <ATen/core/Tensor.h>

namespace isobath {

class KvCache;

// Rows of one sequence are contiguous and in ascending position; sequences follow each other.
struct Rows {
  int64_t sequences = 0;   // B
  int64_t longest = 0;     // K: the most rows of one sequence
  int64_t count = 0;       // R: rows in all; B * K when every sequence has K ("dense")
  at::Tensor positions_R;  // int64, original positions, for the rotary embedding
  at::Tensor segments_R;   // int64 document numbers; undefined: attention is not limited to a document
  at::Tensor cells_R;      // int64: cell b * K + j for the j-th row of sequence b; undefined when dense

  int64_t first_noise_counter = 0;  // counter of the first row's random number; the others count on from it

  // While text is generated: the cache of the layers' keys and values, and the slot of each row's text in it (int64).
  KvCache* cache = nullptr;
  at::Tensor slots_R = {};
  // True: each row is a sequence of its own, which attends to its text's keys in the cache. False: the rows are whole beginnings of texts
  // and attend to each other.
  bool one_row_per_text = false;

  bool dense() const { return !cells_R.defined(); }
};

// Every token of B sequences of T. positions_BT may be undefined (0..T-1); segments_BT undefined: no isolation.
Rows all_rows(int64_t B, int64_t T, at::Tensor const& positions_BT, at::Tensor const& segments_BT, at::Device device);
// int64 [R]: the counter of each row's random number. While text is generated it is the row's position in its text, so that neither the
// batch nor the number of reads matters; otherwise the row's place in the step's whole batch.
at::Tensor noise_counters(Rows const& rows);
// Selects the rows index_R of `rows`, which must be dense: ascending flat indices b * T + t, rows_per_sequence of them in every sequence.
Rows select_rows(Rows const& rows, at::Tensor const& index_R, int64_t rows_per_sequence);
// The rows where mask_BT is true: any number of every sequence. Also gives their flat indices. Reads one number from the device.
Rows select_ragged(Rows const& rows, at::Tensor const& mask_BT, at::Tensor& index_R);

}  // namespace isobath
