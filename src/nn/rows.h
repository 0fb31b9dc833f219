#pragma once
// Which rows a block works on. One idea carries all routing: a block sees x_RD, the rows that are present, and this value.

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
  at::Tensor cells_R;      // int64, ragged only: cell b * K + j of a row that is the j-th of its sequence b; undefined when dense

  int64_t first_draw = 0;  // which random number the first row draws; the others follow

  // While text is generated: where the layers' keys and values are kept, and the slot of each row's text there (int64).
  KvCache* cache = nullptr;
  at::Tensor slots_R = {};
  // A row a text, which sees what the cache has of it; else the rows are whole beginnings of texts and see each other.
  bool continues = false;

  bool dense() const { return !cells_R.defined(); }
};

// Every token of B sequences of T. positions_BT may be undefined (0..T-1); segments_BT undefined: no isolation.
Rows all_rows(int64_t B, int64_t T, at::Tensor const& positions_BT, at::Tensor const& segments_BT, at::Device device);
// int64 [R]: the counter of the random number that each row draws from a key. While text is generated it is the row's position in its text,
// so that neither the batch nor the number of reads matters; else its place in the step's whole batch.
at::Tensor draws(Rows const& rows);
// The rows `index_R` (ascending flat indices b * T + t into `rows`, which must be dense) with K of every sequence.
Rows select_rows(Rows const& rows, at::Tensor const& index_R, int64_t rows_per_sequence);
// The rows where mask_BT is true: any number of every sequence. Also gives their flat indices. Reads one number from the device.
Rows select_ragged(Rows const& rows, at::Tensor const& mask_BT, at::Tensor& index_R);

}  // namespace isobath
