#pragma once
// Contexts and continuations as tokens, cut where lm-evaluation-harness cuts them.

#include <cstdint>
#include <vector>

#include "data/tasks/items.h"
#include "data/tokenizer/tokenizer.h"

namespace isobath {

// A model reads context + continuation without its last token, and the continuation's tokens are what is scored.
struct EncodedOption {
  std::vector<int32_t> context, continuation;  // context: at least one token
  int64_t cut = 0;                             // tokens lost at the left end
};

// White space at the end of the context belongs to the continuation. The context, and context and continuation together, are encoded
// separately; where the context has n ids, the continuation is the rest of the latter behind its first n. An empty context is the token
// that starts a text. most_tokens (1 or more): of the input; the left end is lost, which may be some of the continuation.
EncodedOption encode_option(TaskOption const& option, Tokenizer const& tokenizer, int64_t most_tokens);

}  // namespace isobath
