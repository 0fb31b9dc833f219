#pragma once
// Validation loss of a model under top-k routing and under causal routing, on windows that all arms share.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "model/language_model.h"
#include "model/ledger/ledger.h"
#include "trainer/evaluate/routing_statistics.h"

namespace isobath {

struct EvalSettings {
  EvalRouting routing = EvalRouting::both;
  int64_t tokens = 0;  // 0: all
  int64_t micro_sequences = 8;
  bool isolate_documents = false;
  uint64_t seed = 1;  // of random routers
};

struct RoutingResult {
  double loss = 0;  // nats per token
  double bits_per_byte = 0;
  double forward_flops_per_token = 0;     // realised
  double mean_depth = 0;                  // mean number of layers that a token went through
  std::vector<double> capacity;           // per routed layer: share of the tokens that ran
  std::vector<double> precision, recall;  // of the causal decision against top-k; NaN without a decided or picked token
  std::vector<LayerStatistics> layers;    // of the last routing that was evaluated
};

// Those of `config`, for the result: eval.final_tokens of text.
EvalSettings eval_settings(Config const& config, LanguageModel const& model);

struct Evaluation {
  int64_t tokens = 0;              // targets that were predicted
  int64_t bytes = 0;               // of text that these targets stand for
  int64_t calibration_tokens = 0;  // tokens that decisions were calibrated on; 0: as trained
  std::optional<RoutingResult> topk, causal;
  RoutingResult const& reported() const { return causal ? *causal : *topk; }
};

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

// Evaluates on the validation text. Returns nullopt when `stop` (may be empty) returned true between two batches. Throws Error(data) when
// there is no validation text.
std::optional<Evaluation> evaluate(LanguageModel& model, TokenStream const& valid, Tokenizer const& tokenizer, EvalSettings const& settings,
                                   std::function<bool()> const& stop = {});

// Realised rates of each routed layer, from the sum of ModelOutput::routing_NC over batches.
struct RoutingRates {
  std::vector<double> capacity, precision, recall;
  std::vector<RoutedWork> work;
};
// decides: the model has a causal decision besides top-k's choice; without one, precision and recall are NaN.
RoutingRates routing_rates(at::Tensor const& routing_NC, int64_t tokens, bool decides);

}  // namespace isobath
