#pragma once
// Checks that decoding computes what evaluation does: reads texts token by token with the cache, and compares with one causal pass over
// each text that replays the same decisions.

#include <cstdint>
#include <vector>

#include "model/language_model.h"

namespace isobath {

struct DecodingCheck {
  int64_t tokens = 0;              // whose logits were compared: each prompt's last and all that were read one by one
  int64_t decisions = 0;           // causal decisions compared: one for each token and routed layer
  int64_t flips = 0;               // of these, the decisions that the whole pass makes otherwise
  double largest_flip_margin = 0;  // RoutedLayer::margin_BT of the whole pass; infinite for a flip that rounding cannot explain
  double largest_difference = 0;   // of a token's logits, relative to their largest magnitude in the whole pass; infinite when not finite
};

// Reads the first prompt_tokens[i] tokens of text i at once and the others one by one, all unfinished texts in one batch; then reads each
// text in one pass. seed: for random routers. Keeps the logits of unfinished texts in memory. Throws what Decoder throws, and Error(data)
// unless prompt_tokens[i] lies between 1 and the number of tokens of text i.
DecodingCheck check_decoding(LanguageModel& model, std::vector<std::vector<int32_t>> const& texts,
                             std::vector<int64_t> const& prompt_tokens, uint64_t seed = 0);

}  // namespace isobath
