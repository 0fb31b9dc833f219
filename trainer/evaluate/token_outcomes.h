#pragma once
// What a model did with every token of a text.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/tokenizer/tokenizer.h"
#include "trainer/evaluate/evaluate.h"

namespace isobath {

// One token. Depth, selected and score are those of causal routing; the last token of a text is predicted but not read, so it has none.
// The token that RollingWindows puts before a document is read but not predicted, and has no bytes.
struct TokenOutcome {
  int64_t id = 0;
  std::string piece;
  int64_t document = 0, offset = 0;           // offset: bytes from the start of its document
  double loss_topk = 0, loss_causal = 0;      // nats to predict it; NaN where nothing does. Equal where one routing is evaluated
  std::vector<int64_t> top_ids;               // the likeliest tokens in its place, under causal routing, the likeliest first
  std::vector<double> top_log_probabilities;  // theirs in nats; both are empty for a first token, which nothing predicts
  bool read = true;
  int64_t window = 0;                         // that the model read it in
  int64_t depth = 0;                          // blocks it went through
  std::vector<bool> selected, selected_topk;  // one per routed layer, as is the score
  std::vector<double> score;                  // NaN for tokens that were no candidates
};

// Calls `sink` for every token of the windows that `evaluate` takes, in order: the mean of the losses is its loss. Returns false when
// `stop` (may be empty) returned true between two batches.
bool visit_tokens(LanguageModel& model, Windows const& text, Tokenizer const& tokenizer, EvalSettings const& settings,
                  std::function<void(TokenOutcome const&)> const& sink, std::function<bool()> const& stop = {});

}  // namespace isobath
