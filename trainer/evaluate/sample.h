#pragma once
// Text samples of a model.

#include <string>

#include "data/tokenizer/tokenizer.h"
#include "model/decode/generate.h"

namespace isobath {

// The token ids of a prompt, with the token before it that its tokenizer starts texts with. An empty prompt without such a token becomes
// document_end, after which a new document starts.
std::vector<int32_t> prompt_ids(Tokenizer const& tokenizer, std::string const& prompt);

// Returns the prompt and its continuation. Sampling uses its own seed, so it does not change the random numbers of training.
std::string sample_text(LanguageModel& model, Tokenizer const& tokenizer, std::string const& prompt, GenerateSettings const& settings);

}  // namespace isobath
