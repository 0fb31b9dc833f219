#pragma once
// What routed layers did with a text: how well the causal decision follows top-k, and whom a layer chooses.

#include <cstdint>
#include <vector>

#include "model/language_model.h"
#include "trainer/report/score_histogram.h"

namespace isobath {

// NaN where nothing can be said.
struct LayerStatistics {
  double f1 = 0;          // of the causal decision against top-k's picks
  double f1_ceiling = 0;  // of the best fixed threshold on the same scores
  // Entropy of the vocabulary items that ran over the text's own; of their positions over that of an even spread.
  double entropy_token = 0, entropy_position = 0;
  // Share of the text whose vocabulary items never run, always run; of items seen often enough to tell.
  double dead = 0, always_on = 0;
  ScoreHistogram scores;
};

// Sums over batches, on the model's device; batches after the first 2^20 tokens are left out.
class RoutingStatistics {
 public:
  static constexpr int64_t most_tokens = 1 << 20, often = 16;

  RoutingStatistics(int64_t vocab_size, int64_t length) : vocab_size_(vocab_size), length_(length) {}
  void add(ModelOutput const& output, at::Tensor const& tokens_BT);
  std::vector<LayerStatistics> layers() const;  // one a routed layer; reads the device

 private:
  struct Layer {
    std::vector<at::Tensor> scores_N, picked_N;
    at::Tensor decided, both;               // counts, 0-dim
    at::Tensor ran_of_item_V, ran_place_T;  // counts
  };
  int64_t vocab_size_, length_, seen_ = 0;
  at::Tensor item_V;  // counts
  std::vector<Layer> layers_;
};

}  // namespace isobath
