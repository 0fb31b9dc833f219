#pragma once
// A pretrained model's byte-level tokenizer in llama.cpp's terms: its tokenizer "gpt2".

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"

namespace isobath {

struct ByteLevelVocabulary {
  std::string preparation;  // tokenizer.ggml.pre
  std::vector<std::string> tokens;
  std::vector<int32_t> types;       // as in PieceType
  std::vector<std::string> merges;  // "left right", the most urgent first
  bool split_special_tokens = false;
  std::string chat_template;  // empty: none
  std::string note;           // for people: on which texts llama.cpp may find other ids; empty: none is known
};

// Throws Error(config) for a tokenizer that gets other ids in llama.cpp, with the reason.
ByteLevelVocabulary byte_level_vocabulary(Tokenizer const& imported);

}  // namespace isobath
