#pragma once
// Statistics of the routed layers on a text: how well the causal decision follows top-k, and which tokens a layer chooses.

#include <cstdint>
#include <vector>

#include "model/language_model.h"
#include "trainer/metrics/readings.h"

namespace isobath {

// Sums statistics over batches on the model's device; ignores batches after the first 2^20 tokens.
class RoutingStatistics {
 public:
  static constexpr int64_t most_tokens = 1 << 20, often = 16;

  RoutingStatistics(int64_t vocab_size, int64_t length, at::Device device = at::kCPU)
      : vocab_size_(vocab_size), length_(length), device_(device) {}
  void add(ModelOutput const& output, at::Tensor const& tokens_BT);
  void pass(int64_t tokens) { seen_ += tokens; }  // a batch that another rank adds
  void join(AcrossRanks const& ranks);            // after the last batch: with what the others have added
  std::vector<LayerStatistics> layers() const;    // one per routed layer; waits for the device

 private:
  struct Layer {
    std::vector<at::Tensor> scores_N, picked_N;
    at::Tensor decided, both;               // tokens decided causally, and those of them that top-k picks; 0-dim
    at::Tensor ran_of_item_V, ran_place_T;  // how often each item and each position ran
  };
  int64_t vocab_size_, length_, seen_ = 0;
  at::Device device_;  // of the outputs
  at::Tensor item_V;   // how often each item occurs
  std::vector<Layer> layers_;
};

}  // namespace isobath
