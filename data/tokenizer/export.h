#pragma once
// Tokenizers as other programs read them, with the same ids for the same text. U+2581 in a text is the exception: others take it for a
// space.

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizer/pieces.h"
#include "data/tokenizer/tokenizer.h"

namespace isobath {

// Hugging Face: tokenizer.json (package `tokenizers`) and tokenizer_config.json (package `transformers`). Throws Error(config) for a
// tokenizer that gets other ids there, with the reason.
std::string tokenizer_json(Tokenizer const& tokenizer);
std::string tokenizer_json(PieceModel const& model, bool space_before);  // of a BPE; space_before: a space is put before a text
std::string tokenizer_config_json(Tokenizer const& tokenizer, int64_t context);

// llama.cpp: the vocabulary of its tokenizer "llama", of a tokenizer that was trained here. Throws Error(config) as above. Those of
// pretrained models: imported/byte_level_vocabulary.h.
struct LlamaVocabulary {
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;  // as in PieceType
  int64_t unknown = -1;        // -1: none
};
LlamaVocabulary llama_vocabulary(Tokenizer const& tokenizer);

}  // namespace isobath
