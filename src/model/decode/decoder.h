#pragma once
// Reads texts token by token, many at a time: each layer's keys and values are kept, and a token costs work and memory only in the layers
// it goes through. The logits are those of a causal forward pass over the whole text, up to rounding.

#include <cstdint>
#include <vector>

#include "model/language_model.h"
#include "nn/attention/kv_cache.h"

namespace isobath {

class Decoder {
 public:
  // seed: for random routers, whose numbers depend on seed, layer and position. most_cache_bytes: 0 means no limit; beyond it start and
  // next throw Error(allocation). Throws Error(config) for a model with a first_uncalibrated_layer().
  explicit Decoder(LanguageModel& model, uint64_t seed = 0, int64_t most_cache_bytes = 0);
  ~Decoder();

  struct Read {
    at::Tensor logits_BV;                    // after the last token that start read, after each token that next read
    at::Tensor depth_BT;                     // number of layers that each token of this read went through, on the model's device
    std::vector<RoutedLayer> routed_layers;  // [B, T]
  };
  // Reads the beginning of a new text and returns the text's number. Throws Error(data) when `tokens` is empty or longer than the context.
  int64_t start(std::vector<int32_t> const& tokens, Read& read);
  // A new text with the same beginning, without reading it again; returns its number.
  int64_t copy(int64_t text);
  // Reads more tokens of these texts, in one batch: tokens[i] is the next one of texts[i]. A text may have several, which stand together.
  // Throws Error(data) when a text fills the context. After Error(allocation) these texts can only be finished.
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
