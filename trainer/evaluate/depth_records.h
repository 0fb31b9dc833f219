#pragma once
// What a finished run keeps of where its compute goes, for its report.

#include "core/files.h"
#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "trainer/evaluate/evaluate.h"

namespace isobath {

// Reads the validation text under causal routing and writes into `folder`
//   depth_text.json: the tokens of the first window, how many blocks each went through, and the loss of predicting it (nats; null where it
//     was not predicted);
//   depth_analysis.json, of models with routed layers: depth by word, token, class and surprisal on `settings.tokens` of the text, as
//     `isobath analyze --json` prints it.
void write_depth_records(fs::path const& folder, LanguageModel& model, TokenStream const& valid, Tokenizer const& tokenizer,
                         EvalSettings settings);

}  // namespace isobath
