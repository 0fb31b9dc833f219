#pragma once
// Looking at a model through text.

#include <string>

#include "core/files.h"
#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "model/decode/generate.h"

namespace isobath {

// The ids a prompt stands for; an empty one starts a document.
std::vector<int32_t> prompt_ids(Tokenizer const& tokenizer, std::string const& prompt);

// Prompt and continuation. Keyed by its seed: training's numbers are not touched.
std::string sample_text(LanguageModel& model, Tokenizer const& tokenizer, std::string const& prompt, GenerateSettings const& settings);

// Writes depth_text.json: the pieces of the first validation window, how many blocks each went through under causal routing, and what
// predicting it cost (nats; null for the first, which nothing precedes).
void write_depth_text(fs::path const& path, LanguageModel& model, TokenStream const& valid, Tokenizer const& tokenizer,
                      bool isolate_documents);

}  // namespace isobath
