#pragma once
// Validation loss of a model under both routings, on windows every arm shares.

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
  double forward_flops_per_token = 0;     // of what ran
  double mean_depth = 0;                  // layers a token went through
  std::vector<double> capacity;           // per routed layer: share of the tokens that ran
  std::vector<double> precision, recall;  // of the causal decision against top-k; NaN where nothing was decided or picked
  std::vector<LayerStatistics> layers;    // of the last routing that was evaluated
};

struct Evaluation {
  int64_t tokens = 0;              // targets
  int64_t bytes = 0;               // of text they stand for
  int64_t calibration_tokens = 0;  // 0: decisions as trained
  std::optional<RoutingResult> topk, causal;
  RoutingResult const& reported() const { return causal ? *causal : *topk; }
};

// While it lives the model neither trains nor moves running thresholds, and nothing has gradients; then all is as it was.
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

// What EvalSettings::micro_sequences is good for on a device.
int64_t evaluation_sequences(ModelConfig const& model, bool gpu);

// Sets the cuts of the causal decisions so that each routed layer's present capacity comes true on about `tokens` tokens of training text:
// the last windows of its order, which a run of less than an epoch has not seen. 0: sets them back to the decisions as trained. Returns the
// number of tokens.
int64_t calibrate(LanguageModel& model, TokenStream const& train, int64_t tokens, EvalSettings const& settings);

// nullopt when `stop` (may be empty) said so between two batches. Throws Error(data) when there is no validation text.
std::optional<Evaluation> evaluate(LanguageModel& model, TokenStream const& valid, Tokenizer const& tokenizer, EvalSettings const& settings,
                                   std::function<bool()> const& stop = {});

// Per routed layer, from summed ModelOutput::routing_NC.
struct RoutingRates {
  std::vector<double> capacity, precision, recall;
  std::vector<RoutedWork> work;
};
// decides: there is a causal decision beside top-k's choice; else its precision and recall are NaN.
RoutingRates routing_rates(at::Tensor const& routing_NC, int64_t tokens, bool decides);

}  // namespace isobath
