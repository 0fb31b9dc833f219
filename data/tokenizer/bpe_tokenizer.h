#pragma once
// sentencepiece, made lossless: decode(encode(x)) == x for every byte string, in time linear in its length.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/tokenizer.h"

namespace isobath {

std::unique_ptr<Tokenizer> bpe_tokenizer(std::string_view model);  // a serialized sentencepiece model. Throws Error(data).

// Trains a model of exactly `vocab_size` pieces (256 bytes, unknown and document end included). Same texts, same model.
// Throws Error(data) when the texts are too small or the vocabulary is.
std::unique_ptr<Tokenizer> train_bpe(std::vector<std::string> const& texts, int64_t vocab_size);

}  // namespace isobath
