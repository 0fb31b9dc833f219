#include "config/sections/train.h"

#include <algorithm>

#include "config/row.h"
#include "config/sections/sections.h"

namespace isobath {
namespace {

// The duration as a share of the run; 0 where that cannot be told without knowing the data.
double share_of_run(Duration const& duration, Duration const& budget) {
  if (duration.unit == Unit::percent) return duration.amount / 100;
  return duration.unit == budget.unit && budget.amount > 0 ? duration.amount / budget.amount : 0;
}

}  // namespace

std::vector<ConfigField> train_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  std::vector<Unit> const budget{Unit::step, Unit::token, Unit::flop, Unit::epoch};
  return {
      R(KEY(train.init_from), text, identity,
        "Starts from the weights of a checkpoint, a run, an exported .safetensors file, a Hugging Face folder or a GGUF file. Keys of "
        "model and "
        "tokenizer that are not given are taken from there. What the file lacks of depth (routers, gates, factors) starts fresh. In a "
        "comparison, {arm} and {seed} stand for those of "
        "each run; the keys of model and tokenizer must then be given.")
          .names_paths()
          .may_be_empty_too(),
      R(KEY(train.init_layers), integer_list, identity,
        "Takes these layers of train.init_from alone, counted from 0, in this order: the others are removed. model.layers is their number "
        "then. Not given: all.")
          .between(0, 4095)
          .zero_is("all"),
      R(KEY(train.lora.rank), integer, identity,
        "Trains updates of this rank beside the matrices of blocks, which stay fixed (LoRA). eval, generate, export and train.init_from "
        "take "
        "matrix and update as one. off: the matrices themselves are trained, unless train.freeze keeps them.")
          .between(1, 65536)
          .zero_is("off"),
      R(KEY(train.lora.targets), text_list, identity, "Whose matrices get an update: attention, mlp, or both."),
      R(KEY(train.freeze), text_list, identity,
        "Weights that stay as they are. blocks: attention and MLP matrices; embeddings: embedding and head; norms: all norms. Routers, "
        "predictors, gates and factors are always trained.")
          .may_be_empty_too(),
      R(KEY(train.distill.from), text, identity,
        "A dense model with the same tokenizer, the teacher, whose distribution of the next token is learned besides the text: a "
        "checkpoint, "
        "a run, a Hugging Face folder or a GGUF file. Its forward pass counts in the run's FLOPs.")
          .names_paths()
          .may_be_empty_too(),
      R(KEY(train.distill.weight), real, identity,
        "Factor of temperature^2 times the divergence from the teacher (nats per token), which is added to the loss.")
          .above(0),
      R(KEY(train.distill.temperature), real, identity,
        "Divides the logits of teacher and model before the divergence is taken; above 1, unlikely tokens weigh more.")
          .above(0),
      R(KEY(train.distill.top), count, identity,
        "Learns the teacher's so many likeliest tokens one by one and all others as one event. What the teacher says of them is kept in "
        "data.cache_dir, and it runs once for each window of the text: not in later epochs, for other seeds or in other arms.")
          .at_least(1)
          .zero_is("all"),
      R(KEY(train.budget), duration, schedule, "How long to train.").above(0).in(budget),
      R(KEY(train.batch_tokens), count, identity, "Tokens in a step; a multiple of model.context.").between(1, largest_count),
      R(KEY(train.micro_batch_tokens), count, free, "Tokens computed at once; divides batch_tokens. auto: as many as run fast.")
          .between(1, largest_count)
          .zero_is("auto"),
      R(KEY(train.lr), real, schedule, "Peak learning rate.").above(0).between(0, 100),
      R(KEY(train.min_lr), percent, schedule, "Learning rate at the end, as a share of lr."),
      R(KEY(train.schedule), choice, schedule,
        "Learning rate after warm-up. cosine: falls along a cosine to min_lr; wsd: stays at lr and falls in a straight line to min_lr over "
        "decay."),
      R(KEY(train.warmup), duration, schedule, "Linear warm-up.").at_least(0).in(cadence),
      R(KEY(train.decay), duration, schedule, "Final decay of the wsd schedule.").at_least(0).in(cadence),
      R(KEY(train.weight_decay), real, schedule, "AdamW's decay of matrices; vectors are not decayed.").between(0, 100),
      R(KEY(train.betas), real_list, schedule, "AdamW's two decay rates.").between(0, 1).below(1),
      R(KEY(train.eps), real, schedule, "AdamW's epsilon.").above(0).below(1),
      R(KEY(train.clip_norm), real, schedule, "Gradients are scaled down to this norm.").above(0).zero_is("off"),
      R(KEY(train.patience), count, schedule,
        "Ends the run before its budget, after so many validations in a row without a better one (checkpoint.best).")
          .at_least(1)
          .zero_is("off"),
      R(KEY(train.log_every), duration, free, "How often a train record is written.").above(0).in(cadence),
      R(KEY(train.threads), integer, free, "CPU threads; auto: all that this process may use.").between(1, 4096).zero_is("auto"),
  };
}

void check_train(Config const& config, std::vector<Contradiction>& found) {
  TrainConfig const& train = config.train;
  if (int64_t const T = config.model.context; train.batch_tokens % T != 0) {
    // A number below the context was probably meant as one of sequences.
    int64_t const sequences = train.batch_tokens < T ? train.batch_tokens : (train.batch_tokens + T - 1) / T;
    found.push_back({{"train.batch_tokens", "model.context"},
                     "train.batch_tokens (" + std::to_string(train.batch_tokens) + ") is no multiple of model.context (" +
                         std::to_string(T) + "); " + std::to_string(sequences) + " sequences are " + std::to_string(sequences * T) +
                         " tokens"});
  }
  if (train.micro_batch_tokens > 0) {
    if (train.micro_batch_tokens % config.model.context != 0) {
      found.push_back({{"train.micro_batch_tokens", "model.context"},
                       "train.micro_batch_tokens (" + std::to_string(train.micro_batch_tokens) + ") is no multiple of model.context (" +
                           std::to_string(config.model.context) + ")"});
    }
    if (train.batch_tokens % train.micro_batch_tokens != 0) {
      found.push_back({{"train.micro_batch_tokens", "train.batch_tokens"},
                       "train.micro_batch_tokens (" + std::to_string(train.micro_batch_tokens) + ") does not divide train.batch_tokens (" +
                           std::to_string(train.batch_tokens) + ")"});
    }
  }
  bool const decays = train.schedule == LearningRateSchedule::wsd;
  double const share = share_of_run(train.warmup, train.budget) + (decays ? share_of_run(train.decay, train.budget) : 0);
  if (share > 1 + 1e-9) {
    std::string const what =
        decays ? "train.warmup (" + format_duration(train.warmup) + ") and train.decay (" + format_duration(train.decay) + ") are"
               : "train.warmup (" + format_duration(train.warmup) + ") is";
    found.push_back({{"train.warmup", "train.decay", "train.budget"},
                     what + " longer than the run (" + format_duration(train.budget) +
                         "); write a share of it, such as 5%, or give a larger train.budget"});
  }
  for (std::string const& part : train.lora.targets)
    if (part != "attention" && part != "mlp")
      found.push_back({{"train.lora.targets"}, "train.lora.targets: '" + part + "' is no half of a block (attention, mlp)"});
  if (train.lora.rank > 0 && std::find(train.freeze.begin(), train.freeze.end(), "blocks") != train.freeze.end())
    found.push_back({{"train.lora.rank", "train.freeze"},
                     "train.freeze: [blocks] keeps the matrices of blocks as they are; train.lora.rank trains updates of them: one of the "
                     "two"});
  if (!train.init_layers.empty() && train.init_from.empty())
    found.push_back(
        {{"train.init_layers", "train.init_from"}, "train.init_layers chooses among the layers of train.init_from, which is not given"});
  if (auto const count = static_cast<int64_t>(train.init_layers.size()); count > 0 && count != config.model.layers)
    found.push_back(
        {{"train.init_layers", "model.layers"},
         "train.init_layers names " + std::to_string(count) + " layers, model.layers is " + std::to_string(config.model.layers)});
  for (std::string const& part : train.freeze)
    if (std::find(frozen_parts.begin(), frozen_parts.end(), part) == frozen_parts.end())
      found.push_back({{"train.freeze"}, "train.freeze: '" + part + "' is no part of a model (blocks, embeddings, norms)"});
  if (train.betas.size() != 2) {
    found.push_back({{"train.betas"}, "train.betas has " + std::to_string(train.betas.size()) + " values; AdamW takes two"});
  }
}

}  // namespace isobath
