#pragma once
// Is decoding evaluation? Texts read token by token from the cache against one causal pass over each with the same decisions.

#include <cstdint>
#include <vector>

#include "model/language_model.h"

namespace isobath {

struct DecodingCheck {
  int64_t tokens = 0;              // behind which logits were compared: the prompts' last and all that were read one by one
  int64_t decisions = 0;           // whether a token goes through a routed layer; of all tokens
  int64_t flips = 0;               // of these, what the whole pass would have decided otherwise
  double largest_flip_margin = 0;  // RoutedLayer::margin_BT of the whole pass; infinite where no rounding can turn a decision
  double largest_difference = 0;   // of a token's logits, over the largest magnitude of the whole pass's there; infinite when not finite
};

// Reads the first prompt_tokens[i] tokens of text i at once and the others one by one, all texts in one batch while they last, then each
// text in one pass. seed: of random routers. Holds the logits of texts that have not ended yet. Throws what Decoder throws, and Error(data)
// for a prompt that is not 1 to all tokens of its text.
DecodingCheck check_decoding(LanguageModel& model, std::vector<std::vector<int32_t>> const& texts,
                             std::vector<int64_t> const& prompt_tokens, uint64_t seed = 0);

}  // namespace isobath
