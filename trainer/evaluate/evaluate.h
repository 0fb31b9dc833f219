#pragma once
// Validation loss of a model under top-k routing and under causal routing, on windows that all arms share.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "model/language_model.h"
#include "trainer/metrics/readings.h"

namespace isobath {

struct EvalSettings {
  EvalRouting routing = EvalRouting::both;
  int64_t tokens = 0;  // 0: all
  int64_t micro_sequences = 8;
  bool isolate_documents = false;
  uint64_t seed = 1;      // of random routers
  int64_t likeliest = 0;  // how many tokens visit_tokens names at each place
  CalibrationBudget budget = CalibrationBudget::layer;
  AcrossRanks ranks = {};  // that share evaluate() and calibrate(); all get the results of one process alone
};

// Those of `config`, for the result: eval.final_tokens of text.
EvalSettings eval_settings(Config const& config, LanguageModel const& model);

// Puts the model into evaluation mode (running thresholds do not move) and turns gradients off; the destructor restores both.
class EvalMode {
 public:
  explicit EvalMode(LanguageModel& model);
  ~EvalMode();
  EvalMode(EvalMode const&) = delete;
  EvalMode& operator=(EvalMode const&) = delete;

 private:
  LanguageModel& model_;
  bool was_training_, had_gradients_;
};

// A good value of EvalSettings::micro_sequences: sequences of at most 4Ki tokens in all, on a GPU 64Ki.
int64_t default_eval_sequences(ModelConfig const& model, bool gpu);

// Calibrates the causal decisions: sets their offsets so that each routed layer realises its current capacity on about `tokens` tokens of
// training text. This text is the last windows of the first epoch, which a run of less than an epoch has not seen. tokens 0: resets the
// offsets to 0, the decisions as trained. Returns the number of tokens used.
int64_t calibrate(LanguageModel& model, TokenStream const& train, int64_t tokens, EvalSettings const& settings);

// How many windows of `length` tokens an evaluation on `tokens` of text takes: whole ones, at least one; tokens 0: all.
int64_t evaluated_windows(Windows const& text, int64_t length, int64_t tokens);

// The windows of a validation text: one after the other, over document borders; of tasks, whole examples.
std::unique_ptr<Windows> validation_windows(TokenStream const& valid, LanguageModel const& model, EvalSettings const& settings);

// Evaluates on a text. Returns nullopt when `stop` (may be empty) returned true between two batches, on any rank. Throws Error(data) when
// there is no text.
std::optional<Evaluation> evaluate(LanguageModel& model, Windows const& text, Tokenizer const& tokenizer, EvalSettings const& settings,
                                   std::function<bool()> const& stop = {});

// From the sum of ModelOutput::routing_NC over batches of `tokens` tokens.
// decides: the model has a causal decision besides top-k's choice; without one, precision and recall are NaN.
RoutingRates routing_rates(at::Tensor const& routing_NC, int64_t tokens, bool decides);

}  // namespace isobath
