#pragma once
// What a model did with every token of a text, as JSON Lines.

#include <filesystem>

#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "trainer/evaluate/evaluate.h"

namespace isobath {

// Writes one object a token: {"id", "piece", "document", "offset" (bytes from the start of its document), "loss_topk", "loss_causal" (nats
// to predict it; null where nothing does), "depth" (blocks it went through), "selected", "selected_topk" and "score", one a routed layer}.
// Depth, selected and score are those of causal routing; the last token of the text is predicted but not read, so it has none. Takes the
// windows that `evaluate` takes, so that the mean of the losses is its loss. Throws Error(disk).
void write_token_records(std::filesystem::path const& path, LanguageModel& model, TokenStream const& text, Tokenizer const& tokenizer,
                         EvalSettings const& settings);

}  // namespace isobath
