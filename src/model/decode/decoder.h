#pragma once
// Texts token by token, many at a time: each layer's keys and values are kept, and a token costs work and memory only in the layers it goes
// through. What it gives is what a causal forward pass over the whole text gives.

#include <cstdint>
#include <vector>

#include "model/language_model.h"
#include "nn/attention/kv_cache.h"

namespace isobath {

class Decoder {
 public:
  // seed: of random routers, which draw by layer and place in the text. most_cache_bytes: 0, no limit; beyond it start and next throw
  // Error(allocation). Throws Error(config) for a model with an undecided_layer().
  explicit Decoder(LanguageModel& model, uint64_t seed = 0, int64_t most_cache_bytes = 0);
  ~Decoder();

  struct Read {
    at::Tensor logits_BV;                    // behind the last token of each text
    at::Tensor depth_BT;                     // layers that each token read now went through, on the model's device
    std::vector<RoutedLayer> routed_layers;  // [B, T]
  };
  // A new text from its beginning. Gives its number. Throws Error(data) when it has no token, or more than the context.
  int64_t start(std::vector<int32_t> const& tokens, Read& read);
  // One more token of each of these texts, in one batch. Throws Error(data) when one is full. Where the cache's limit stops it half-way,
  // its texts can only be finished.
  Read next(std::vector<int64_t> const& texts, std::vector<int32_t> const& tokens);
  void finish(int64_t text);  // forgets it

  int64_t length(int64_t text) const { return lengths_[static_cast<size_t>(text)]; }
  KvCache::Use use() const { return cache_.use(); }

 private:
  Read read(std::vector<int64_t> const& texts, std::vector<int32_t> const& tokens, int64_t length);

  LanguageModel& model_;
  uint64_t seed_;
  bool was_training_;
  KvCache cache_;
  std::vector<int64_t> lengths_;
};

}  // namespace isobath
