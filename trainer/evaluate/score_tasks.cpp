#include "trainer/evaluate/score_tasks.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <mutex>

#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"
#include "data/progress.h"
#include "data/tasks/encoded_items.h"
#include "model/decode/decoder.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/evaluate/join_scores.h"

namespace isobath {
namespace {

using Tokens = std::vector<int32_t>;

void add_depths(at::Tensor const& depth_N, std::vector<int64_t>& depths) {
  at::Tensor const values = depth_N.reshape({-1}).cpu().contiguous();
  depths.insert(depths.end(), values.const_data_ptr<int64_t>(), values.const_data_ptr<int64_t>() + values.numel());
}

// logits_TV: those that predict the continuation's tokens.
void take_score(at::Tensor const& logits_TV, Tokens const& continuation, OptionScore& score) {
  score.tokens = std::ssize(continuation);
  if (continuation.empty()) {  // the context's last piece holds it, so nothing of it can be predicted
    score.log_probability = -std::numeric_limits<double>::infinity();
    return;
  }
  score.greedy = true;
  at::Tensor const targets_T1 =
      at::tensor(std::vector<int64_t>(continuation.begin(), continuation.end())).to(logits_TV.device()).unsqueeze(1);
  at::Tensor const wide_TV = logits_TV.scalar_type() == at::kDouble ? logits_TV : logits_TV.to(at::kFloat);
  at::Tensor const chosen_T = wide_TV.log_softmax(1).gather(1, targets_T1).to(at::kDouble);
  score.log_probability = chosen_T.sum().item<double>();
  score.greedy = logits_TV.argmax(1, /*keepdim=*/true).eq(targets_T1).all().item<bool>();
}

// Scores items, one at a time, on one thread.
class Scorer {
 public:
  Scorer(LanguageModel& model, Tokenizer const& tokenizer, Routing routing, uint64_t seed)
      : model_(model), tokenizer_(tokenizer), routing_(routing), seed_(seed) {
    if (routing == Routing::causal) decoder_ = std::make_unique<Decoder>(model, seed);
  }

  ItemScore score(TaskItem const& item) {
    c10::InferenceMode const inference;
    std::vector<EncodedOption> options;
    for (TaskOption const& option : item.options) options.push_back(encode_option(option, tokenizer_, model_.model_config().context));
    ItemScore result;
    for (EncodedOption const& option : options) result.options.push_back({0, false, 0, option.cut, {}});
    if (routing_ == Routing::topk) {
      for (size_t i = 0; i < options.size(); ++i) read_whole(options[i], result.options[i]);
      return result;
    }
    bool const share = std::all_of(options.begin(), options.end(), [&](auto const& o) { return o.context == options.front().context; });
    if (share) {
      cost_.tokens_not_read += std::ssize(options.front().context) * (std::ssize(options) - 1);
      read_from_prompt(options, result.prompt_depth, result.options.data());
    } else {
      for (size_t i = 0; i < options.size(); ++i) read_from_prompt({options[i]}, result.options[i].depth, &result.options[i]);
    }
    return result;
  }

  ScoringCost const& cost() const { return cost_; }

 private:
  // Options with one context.
  void read_from_prompt(std::vector<EncodedOption> const& options, std::vector<int64_t>& prompt_depth, OptionScore* scores) {
    Decoder::Read prompt;
    int64_t const first = decoder_->start(options.front().context, prompt);
    add_depths(prompt.depth_BT, prompt_depth);
    int64_t const of_prompt = decoder_->use().stored;
    std::vector<int64_t> texts, numbers{first};
    Tokens tokens;  // all but the last of each continuation
    for (size_t i = 0; i < options.size(); ++i) {
      if (options[i].continuation.size() < 2) continue;
      if (!texts.empty()) numbers.push_back(decoder_->copy(first));
      texts.insert(texts.end(), options[i].continuation.size() - 1, numbers.back());
      tokens.insert(tokens.end(), options[i].continuation.begin(), options[i].continuation.end() - 1);
    }
    int64_t const before = decoder_->use().stored;
    Decoder::Read rest;
    if (!texts.empty()) rest = decoder_->next(texts, tokens);
    cost_.kv_bytes += of_prompt + decoder_->use().stored - before;
    int64_t row = 0;
    for (size_t i = 0; i < options.size(); ++i) {
      int64_t const more = std::max<int64_t>(std::ssize(options[i].continuation) - 1, 0);
      at::Tensor const logits_TV = more > 0 ? at::cat({prompt.logits_BV, rest.logits_BV.narrow(0, row, more)}) : prompt.logits_BV;
      take_score(logits_TV, options[i].continuation, scores[i]);
      if (more > 0) add_depths(rest.depth_BT.narrow(0, row, more), scores[i].depth);
      row += more;
    }
    for (int64_t const number : numbers) decoder_->finish(number);
    cost_.tokens += std::ssize(options.front().context) + row;
    cost_.blocks += prompt.depth_BT.sum().item<int64_t>() + (row > 0 ? rest.depth_BT.sum().item<int64_t>() : 0);
  }

  void read_whole(EncodedOption const& option, OptionScore& score) {
    std::vector<int64_t> tokens(option.context.begin(), option.context.end());
    if (!option.continuation.empty()) tokens.insert(tokens.end(), option.continuation.begin(), option.continuation.end() - 1);
    ModelInput const input{at::tensor(tokens).unsqueeze(0).to(model_.device()), {}, {}};
    ModelOutput const output = model_.forward(input, routing_, {seed_, 0, 0, NoiseStream::evaluation});
    auto const scored = std::ssize(option.continuation);
    take_score(model_.logits(output.x_ND.narrow(0, std::ssize(tokens) - scored, scored)), option.continuation, score);
    add_depths(output.depth_BT, score.depth);
    cost_.tokens += std::ssize(tokens);
    cost_.blocks += output.depth_BT.sum().item<int64_t>();
  }

  LanguageModel& model_;
  Tokenizer const& tokenizer_;
  Routing routing_;
  uint64_t seed_;
  std::unique_ptr<Decoder> decoder_;
  ScoringCost cost_;
};

// LibTorch uses one thread while this lives, as inside a parallel region. Nothing on a GPU.
class OneThread {
 public:
  explicit OneThread(bool on_gpu) : before_(on_gpu ? 0 : at::get_num_threads()) {
    if (before_ > 1) at::set_num_threads(1);
  }
  ~OneThread() {
    if (before_ > 1) at::set_num_threads(before_);
  }
  OneThread(OneThread const&) = delete;

 private:
  int before_;
};

void warn_of_options_without_tokens(std::vector<ItemScore> const& items) {
  int64_t options = 0;
  for (ItemScore const& item : items)
    options += std::count_if(item.options.begin(), item.options.end(), [](OptionScore const& option) { return option.tokens == 0; });
  if (options > 0)
    log_warning(std::to_string(options) +
                " options have no token of their own, for the last piece of the prompt holds them: they are never "
                "the answer");
}

TaskScores score_own_items(LanguageModel& model, Tokenizer const& tokenizer, std::vector<TaskItem> const& items, Routing routing,
                           uint64_t seed) {
  EvalMode const mode(model);
  TaskScores result;
  result.items.resize(items.size());
  bool const on_gpu = model.device().is_cuda();
  int const workers = static_cast<int>(std::min<size_t>(items.size(), on_gpu ? 1 : static_cast<size_t>(at::get_num_threads())));
  std::vector<Scorer> scorers;
  for (int i = 0; i < workers; ++i) scorers.emplace_back(model, tokenizer, routing, seed);
  Progress progress("scoring", std::ssize(items), Progress::Counts::items);
  std::mutex mutex;
  size_t next = 0;
  auto const score_next = [&](Scorer& scorer) {  // false: there is none
    size_t item = 0;
    {
      std::lock_guard const lock(mutex);
      if (next == items.size()) return false;
      item = next++;
    }
    result.items[item] = scorer.score(items[item]);
    std::lock_guard const lock(mutex);
    progress.add(1);
    return true;
  };
  auto const work = [&](Scorer& scorer) {
    try {
      while (score_next(scorer)) {
      }
    } catch (...) {
      std::lock_guard const lock(mutex);
      next = items.size();  // the others stop, too
      throw;
    }
  };
  if (workers > 0) {  // the first pass makes tables that the model keeps, so it runs alone
    OneThread const one_thread(on_gpu);
    score_next(scorers.front());
    if (workers == 1) work(scorers.front());
  }
  if (workers > 1) {
    at::parallel_for(0, workers, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) work(scorers[static_cast<size_t>(i)]);
    });
  }
  for (Scorer const& scorer : scorers) {
    result.cost.tokens += scorer.cost().tokens;
    result.cost.tokens_not_read += scorer.cost().tokens_not_read;
    result.cost.blocks += scorer.cost().blocks;
    result.cost.kv_bytes += scorer.cost().kv_bytes;
  }
  result.cost.seconds = progress.seconds();
  return result;
}

}  // namespace

TaskScores score_items(LanguageModel& model, Tokenizer const& tokenizer, std::vector<TaskItem> const& items, Routing routing, uint64_t seed,
                       AcrossRanks const& ranks) {
  std::vector<TaskItem> own_items;
  for (size_t i = 0; i < items.size(); ++i)
    if (static_cast<int64_t>(i) % ranks.size == ranks.rank) own_items.push_back(items[i]);
  TaskScores own;
  int64_t stopped = 0;
  try {
    own = score_own_items(model, tokenizer, own_items, routing, seed);
  } catch (Stopped const&) {
    stopped = stop_requested();
  }
  stopped = ranks.joined(at::full({1}, stopped, at::kLong)).max().item<int64_t>();
  if (stopped != 0) throw Stopped(static_cast<int>(stopped), "stopped");
  TaskScores result = ranks.size == 1 ? std::move(own) : join_scores(own, std::ssize(items), ranks);
  warn_of_options_without_tokens(result.items);
  return result;
}

}  // namespace isobath
