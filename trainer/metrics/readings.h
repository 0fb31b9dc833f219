#pragma once
// What training, evaluation and decoding measure, as plain values on the host: the sources of the table of metrics (metric.h). No LibTorch.

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "model/ledger/ledger.h"

namespace isobath {

// Router scores of one routed layer in bins of equal width between `low` and `high`. The 0.1 % of scores outside on either side count in
// the outermost bins. Empty when not measured.
struct ScoreHistogram {
  double low = 0, high = 0;
  std::vector<int64_t> tokens, picked;  // per bin: number of tokens, and how many of them top-k picks
  bool empty() const { return tokens.empty(); }
};

// Which tokens a routed layer chooses, and how well its causal decision follows top-k. NaN where nothing can be said.
struct LayerStatistics {
  double f1 = 0;          // of the causal decision against top-k's picks
  double f1_ceiling = 0;  // of the best fixed threshold on the same scores
  // Entropy of the vocabulary items that ran, divided by that of the text's items; entropy of the positions that ran, divided by that of a
  // uniform distribution.
  double entropy_token = 0, entropy_position = 0;
  // Share of the text made of vocabulary items that never run (dead) or always run, among items that occur often enough.
  double dead = 0, always_on = 0;
  ScoreHistogram scores;
};

// Realised rates, one value per routed layer.
struct RoutingRates {
  std::vector<double> capacity, precision, recall;
  std::vector<RoutedWork> work;
};

// The validation text under one routing.
struct RoutingResult {
  double loss = 0;  // nats per token
  double bits_per_byte = 0;
  double forward_flops_per_token = 0;     // realised
  double mean_depth = 0;                  // mean number of layers that a token went through
  std::vector<double> capacity;           // per routed layer: share of the tokens that ran
  std::vector<double> precision, recall;  // of the causal decision against top-k; NaN without a decided or picked token
  std::vector<LayerStatistics> layers;    // of the last routing that was evaluated
};

struct Evaluation {
  int64_t tokens = 0;              // targets that were predicted
  int64_t bytes = 0;               // of text that these targets stand for
  int64_t calibration_tokens = 0;  // tokens that decisions were calibrated on; 0: as trained
  std::optional<RoutingResult> topk, causal;
  RoutingResult const& causal_or_topk() const { return causal ? *causal : *topk; }
};

// The loss of a nested model if every token took its best branch, chosen in hindsight: the head-room of its depth network.
struct Oracle {
  std::vector<double> branch_losses;  // nats per token when every token takes this branch
  double loss = 0;                    // when every token takes the branch with its lowest loss
  double loss_same_depth = 0;         // the same with a price per layer that makes the mean depth equal to the model's own
  // Whether harder text goes deeper: Pearson's correlation over windows between the mean depth of a window's tokens and their mean loss in
  // the shallowest branch, with its 95 % confidence interval (Fisher's z). NaN when all windows are alike or there are fewer than four.
  double difficulty_correlation = 0, correlation_low = 0, correlation_high = 0;
};

// ---- One struct per kind of record

// A `run` record: how long a run is to be, on which text, and what its model costs.
struct RunFacts {
  int64_t params = 0, params_non_embedding = 0, vocab_size = 0;
  int64_t steps = 0, batch_tokens = 0, micro_batch_tokens = 0, train_flops_per_step = 0;  // planned
  double forward_flops_per_token = 0, kv_bytes_per_token = 0, epochs = 0;                 // planned
  int64_t train_tokens = 0, valid_tokens = 0, train_bytes = 0, valid_bytes = 0, documents = 0;
  double peak_flops = 0;
  int64_t ranks = 1;  // processes that train the run together
  int64_t threads = 0;
  double pretraining_flops = 0;  // NaN: not known
};

// The values of a MetricWindow (trainer/train/step.h): means over its steps. NaN: the window has no finite value.
struct WindowReading {
  double loss = 0, router_loss = 0, predictor_loss = 0, z_loss = 0, gate_loss = 0, grad_norm = 0, divergence = 0;
  int64_t skipped = 0, streak = 0;
  int64_t predictor_skipped = 0, predictor_streak = 0;
  RoutingRates routing;
};

struct Speed {
  double tokens_per_s = 0;
  double mfu = 0;     // realised FLOP/s, by the ledger, as a share of PeakFlops
  double mfu_6n = 0;  // the same with the common 6 N + 12 L D T FLOPs a token (N all parameters), as if nothing were routed
};

// A `train` record.
struct TrainReading {
  WindowReading window;
  Speed speed;
  double learning_rate = 0;
  double train_seconds = 0, data_wait_seconds = 0;  // since the start of the run
  int64_t memory_bytes = 0;                         // the most so far
  // That rank 0 waited for the others since this process started; NaN: one process alone, or a GPU, whose stream waits instead.
  double communication_wait_seconds = std::numeric_limits<double>::quiet_NaN();
};

// A `validation` record.
struct ValidationReading {
  Evaluation evaluation;
  std::optional<Oracle> oracle;
  double train_seconds = 0, eval_seconds = 0;
  double accuracy = std::numeric_limits<double>::quiet_NaN();  // mean of the main metrics of the tasks; NaN: none were scored
};

// An `end` record: what one process of a run measured (a resumed run has several). NaN: not measured.
struct EndReading {
  int64_t step = 0, tokens = 0;                     // of the whole run
  double train_seconds = 0, data_wait_seconds = 0;  // of the whole run
  double train_flops = 0;                           // of the whole run, rounded
  double step_time_median = 0, tokens_per_s = 0, wall_seconds = 0;
  double checkpoint_seconds = 0;  // time that training paused for checkpoints
  int64_t checkpoints = 0, memory_bytes = 0;
};

// A value and its 95 % interval. NaN: not asked for.
struct Estimate {
  double value = std::numeric_limits<double>::quiet_NaN(), low = value, high = value;
};

// A `task` record: a model's answers to the questions of one task, under one routing.
struct TaskReading {
  int64_t items = 0;
  Estimate acc, acc_norm, acc_bytes, bits_per_byte, f1;
  double acc_first = 0;             // where the first of equal scores wins, as in lm-evaluation-harness
  int64_t ties = 0;                 // items whose right answer shares the highest score
  double chance = 0, majority = 0;  // accuracies of guessing, and of the answer that is right most often
  int64_t cut_items = 0, cut_tokens = 0;
  double blocks_per_token = 0, kv_bytes_per_token = 0, tokens_per_s = 0;
  int64_t tokens = 0, tokens_not_read = 0;
  double seconds = 0;
};

// Decoding token by token from the key-value cache, as `compare` measures it after training (decode.json).
struct Decoding {
  int64_t batch = 0, prompt = 0;  // texts decoded together; length of each prompt in tokens
  double tokens_per_s = 0, kv_bytes_per_token = 0, blocks_per_token = 0;
  double prompt_tokens_per_s = 0;  // read at once, before the others
};

}  // namespace isobath
