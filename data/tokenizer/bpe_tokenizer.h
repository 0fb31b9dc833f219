#pragma once
// A sentencepiece BPE tokenizer that loses nothing: decode(encode(x)) == x for every byte string. Encoding takes time linear in the length.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/tokenizer.h"

namespace isobath {

std::unique_ptr<Tokenizer> bpe_tokenizer(std::string_view model);  // a serialized sentencepiece model. Throws Error(data).

// Trains a model of exactly `vocab_size` pieces (256 bytes, unknown and document end included). The same texts give the same model. Throws
// Error(data) when the texts or the vocabulary are too small.
std::unique_ptr<Tokenizer> train_bpe(std::vector<std::string> const& texts, int64_t vocab_size);

}  // namespace isobath
