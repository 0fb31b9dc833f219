#pragma once
// The tokenizer in a GGUF file.

#include <string>

#include "data/tokenizer/tokenizer.h"
#include "format/gguf.h"

namespace isobath {

struct GgufTokenizer {
  GgufMetadata metadata;
  std::string note;  // for people: on which texts llama.cpp may find other ids; empty: on none
};

// Throws Error(config) for a tokenizer that gets other ids in llama.cpp, with the reason.
GgufTokenizer gguf_tokenizer_of(Tokenizer const& tokenizer);

}  // namespace isobath
