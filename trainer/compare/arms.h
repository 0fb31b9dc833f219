#pragma once
// Estimates what a run will cost, before anything is allocated. Uses no LibTorch.

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/prepare.h"
#include "model/ledger/ledger.h"
#include "model/ledger/memory.h"
#include "trainer/report/run_progress.h"

namespace isobath {

// How much text there is. Token counts for a BPE tokenizer that is not trained yet are estimates; `note` says what they are based on.
struct DataSize {
  double train_tokens = 0, valid_tokens = 0;
  bool exact = false;
  std::string note;
  struct Packing {
    int64_t windows = 0;
    double padding = 0;  // share of the tokens
    int64_t longer = 0;  // examples that lose their left ends
  };
  std::function<Packing(int64_t context)> pack = {};  // of data.tasks, whose examples stay whole; empty: of text
};
DataSize estimate_data(Config const& config);  // reads file sizes only; of data.tasks, the rows
DataSize measured_data(PreparedData const& data);
// Vocabulary size of the tokenizer that training would use; reads the tokenizer file when the configuration names one.
int64_t planned_vocab_size(TokenizerConfig const& tokenizer);

// Forward FLOPs of a run's validations, calibration and both routings included.
struct EvaluationPlan {
  double points = 0, point_flops = 0;  // those of the curve, on eval.tokens
  double result_flops = 0;             // the final one, on eval.final_tokens
  double flops() const { return points * point_flops + result_flops; }
};

struct ArmPlan {
  std::string name;
  Config config;
  int64_t vocab_size = 0;
  Parameters parameters;
  Ledger ledger;
  std::vector<int64_t> routed;
  // Forward FLOPs per token of a full context under top-k routing, by part.
  double linear = 0, attention = 0, router = 0, predictor = 0, head = 0;
  double forward() const { return linear + attention + router + predictor + head; }
  double teacher = 0;      // of a distillation, per token; part of training alone
  int64_t step_flops = 0;  // training FLOPs of one optimizer step
  int64_t steps = 0, tokens = 0;
  Int128 train_flops;
  EvaluationPlan evaluation;
  double evaluation_share() const { return evaluation.flops() / static_cast<double>(train_flops); }
  // For progress: FLOPs of training and evaluation, and how many of them a run has done.
  double work() const { return static_cast<double>(train_flops) + evaluation.flops(); }
  double work_done(RunStatus const& run) const;
  double epochs = 0, padding = 0;
  int64_t longer_examples = 0;  // than model.context
  int64_t micro_batch_tokens = 0;
  PlannedMemory memory;  // activations of one micro-batch
  double kv_bytes_per_token = 0;
  std::vector<std::string> warnings;
};

ArmPlan plan_arm(std::string const& name, Config const& config, int64_t vocab_size, DataSize const& data, int64_t micro_batch_tokens);
std::string plan_table(std::vector<ArmPlan> const& arms, DataSize const& data);
nlohmann::ordered_json plan_json(std::vector<ArmPlan> const& arms, DataSize const& data);

}  // namespace isobath
