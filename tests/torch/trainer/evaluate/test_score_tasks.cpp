// Scores of tasks: against one causal pass over each text, on models whose answers are known, and to the last bit whatever else is scored.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "core/random.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/torch/reference.h"
#include "trainer/evaluate/score_tasks.h"
#include "trainer/tasks/result.h"

using namespace isobath;
using namespace isobath::test;
using Catch::Approx;

namespace {

constexpr int64_t byte_vocabulary = 257;

// Letters that a key draws.
std::string letters(uint64_t key, int64_t length) {
  std::string text;
  for (int64_t i = 0; i < length; ++i) text += static_cast<char>('a' + random_bits(key, static_cast<uint64_t>(i)) % 26);
  return text;
}

// Options of different lengths, after one context or one each; the first item has no context.
std::vector<TaskItem> some_items(int64_t count, bool one_context) {
  std::vector<TaskItem> items;
  for (int64_t i = 0; i < count; ++i) {
    uint64_t const key = make_key({41, static_cast<uint64_t>(i)});
    TaskItem& item = items.emplace_back();
    item.line = i + 1;
    item.answers = 3;
    item.answer = static_cast<int64_t>(key % 3);
    for (int64_t o = 0; o < 3; ++o) {
      std::string const context = i == 0 ? "" : letters(one_context ? key : key + static_cast<uint64_t>(o), 1 + i % 9);
      std::string const choice = letters(mix(key) + static_cast<uint64_t>(o), 1 + (i + 2 * o) % 6);
      item.options.push_back({context, " " + choice, choice, o});
    }
  }
  return items;
}

std::shared_ptr<LanguageModel> task_model(std::string const& kind, at::ScalarType type, int64_t context = 24) {
  Shape shape = small_shape(kind);
  shape.vocab = byte_vocabulary;
  shape.model.context = context;
  if (kind == "mod") shape.depth.causal = "bce";
  if (kind == "nested") shape.depth.exits = {1, 2};
  if (kind == "nested" || kind == "scaled") shape.depth.mean_depth = 2;
  auto model = make_model(shape, type);
  at::NoGradGuard const no_grad;
  model->harden();
  model->eval();
  model->calibrate({{random_tokens(6, 24, byte_vocabulary, 9), {}, {}}}, {});
  return model;
}

// Log-probability of each option in one pass over it alone.
double in_one_pass(LanguageModel& model, TaskOption const& option, Routing routing) {
  at::NoGradGuard const no_grad;
  std::vector<int64_t> ids{};
  if (option.context.empty()) ids.push_back(byte_vocabulary - 1);
  for (char const c : option.context + option.continuation) ids.push_back(static_cast<unsigned char>(c));
  auto const scored = std::ssize(option.continuation), read = std::ssize(ids) - 1;
  at::Tensor const input_BT = at::tensor(std::vector<int64_t>(ids.begin(), ids.end() - 1)).unsqueeze(0);
  ModelOutput const output = model.forward({input_BT, {}, {}}, routing, {0, 0, 0, NoiseStream::evaluation});
  at::Tensor const log_TV = model.logits(output.x_ND).log_softmax(1).to(at::kDouble);
  double sum = 0;
  for (int64_t t = read - scored; t < read; ++t) sum += log_TV[t][ids[static_cast<size_t>(t) + 1]].item<double>();
  return sum;
}

// A model that knows the probability of each byte after each other byte and nothing else: one-hot embeddings, blocks that add nothing, and
// a head that holds the table.
struct BigramModel {
  BigramModel() {
    at::NoGradGuard const no_grad;
    ModelConfig config;
    config.layers = 1;
    config.width = 260;
    config.heads = 2;
    config.mlp_width = 8;
    config.context = 64;
    config.tie_embeddings = false;
    config.norm_eps = 1e-12;
    model = std::make_shared<LanguageModel>(config, DepthConfig(), byte_vocabulary, 1);
    model->to(at::kDouble);
    at::Tensor const scores_VV = normal_tensor({byte_vocabulary, byte_vocabulary}, 21);
    table_VV = scores_VV.log_softmax(1);
    for (NamedWeight const& weight : model->stored()) {
      at::Tensor tensor = weight.tensor;
      if (weight.name.ends_with("o_proj.weight") || weight.name.ends_with("down_proj.weight")) tensor.zero_();
      if (weight.name == "model.embed_tokens.weight") tensor.copy_(at::eye(byte_vocabulary, 260, tensor.options()));
      // The norm before the head makes the single 1 of a row sqrt(260).
      if (weight.name == "lm_head.weight") tensor.zero_().narrow(1, 0, byte_vocabulary).copy_(table_VV.t() / std::sqrt(260.0));
    }
    model->eval();
  }
  double log_probability(TaskOption const& option) const {
    int64_t last = option.context.empty() ? byte_vocabulary - 1 : static_cast<unsigned char>(option.context.back());
    double sum = 0;
    for (char const c : option.continuation) {
      sum += table_VV[last][static_cast<unsigned char>(c)].item<double>();
      last = static_cast<unsigned char>(c);
    }
    return sum;
  }
  std::shared_ptr<LanguageModel> model;
  at::Tensor table_VV;
};

TaskItems with(std::vector<TaskItem> items) {
  TaskItems all;
  all.items = std::move(items);
  return all;
}

}  // namespace

TEST_CASE("task scores: those of one pass over each option, with a prompt of all options or one each", "[tasks]") {
  auto const tokenizer = byte_tokenizer();
  for (char const* kind : {"dense", "mod", "nested", "scaled"})
    for (bool const one_context : {true, false}) {
      INFO(kind << (one_context ? ", one context" : ", contexts"));
      auto const model = task_model(kind, at::kDouble);
      auto const items = some_items(20, one_context);
      TaskScores const scores = score_items(*model, *tokenizer, items, Routing::causal, 0);
      TaskScores const ahead = score_items(*model, *tokenizer, items, Routing::topk, 0);
      double worst = 0, worst_ahead = 0;
      int64_t shared = 0;
      for (size_t i = 0; i < items.size(); ++i)
        for (size_t o = 0; o < 3; ++o) {
          TaskOption const& option = items[i].options[o];
          worst = std::max(worst, std::abs(scores.items[i].options[o].log_probability - in_one_pass(*model, option, Routing::causal)));
          worst_ahead =
              std::max(worst_ahead, std::abs(ahead.items[i].options[o].log_probability - in_one_pass(*model, option, Routing::topk)));
          CHECK(scores.items[i].options[o].tokens == std::ssize(option.continuation));
          CHECK(scores.items[i].options[o].cut == 0);
          if (o > 0 && (one_context || i == 0)) shared += std::max<int64_t>(1, std::ssize(option.context));
        }
      CHECK(worst < 1e-10);
      CHECK(worst_ahead < 1e-10);
      CHECK(scores.cost.tokens_not_read == shared);
      CHECK(ahead.cost.tokens == scores.cost.tokens + shared);
      CHECK(scores.cost.kv_bytes > 0);
    }
}

TEST_CASE("task scores: depth and cache are those of the tokens that were read", "[tasks]") {
  auto const tokenizer = byte_tokenizer();
  auto const model = task_model("mod", at::kDouble);
  auto const items = some_items(12, true);
  TaskScores const scores = score_items(*model, *tokenizer, items, Routing::causal, 0);
  int64_t blocks = 0, tokens = 0;
  for (ItemScore const& item : scores.items) {
    auto const add = [&](std::vector<int64_t> const& depth) {
      tokens += std::ssize(depth);
      for (int64_t const d : depth) blocks += d;
    };
    add(item.prompt_depth);
    for (OptionScore const& option : item.options) add(option.depth);
  }
  CHECK(tokens == scores.cost.tokens);
  CHECK(blocks == scores.cost.blocks);
  // Keys and values in double, of the layers that each token went through.
  ModelConfig const& config = model->model_config();
  int64_t const row_bytes = 2 * resolved_kv_heads(config) * config.width / config.heads * 8;
  CHECK(scores.cost.kv_bytes == blocks * row_bytes);
}

TEST_CASE("task scores: to the last bit whatever is scored beside, in any order, on any number of threads", "[tasks]") {
  auto const tokenizer = byte_tokenizer();
  for (char const* kind : {"dense", "mod", "nested"}) {
    INFO(kind);
    auto const model = task_model(kind, at::kFloat, 200);
    std::vector<TaskItem> items = some_items(30, true);
    // More rows than the kernel for few rows takes: the first item and another have long prompts.
    for (size_t const i : {size_t{0}, size_t{7}})
      for (TaskOption& option : items[i].options) option.context = letters(i, 180);
    TaskScores const all = score_items(*model, *tokenizer, items, Routing::causal, 0);
    int const threads = at::get_num_threads();
    at::set_num_threads(2);
    std::vector<TaskItem> const backwards(items.rbegin(), items.rend());
    TaskScores const reversed = score_items(*model, *tokenizer, backwards, Routing::causal, 0);
    at::set_num_threads(threads);
    bool same = true;
    for (size_t i = 0; i < items.size(); ++i) {
      TaskScores const alone = score_items(*model, *tokenizer, {items[i]}, Routing::causal, 0);
      for (size_t o = 0; o < 3; ++o) {
        double const score = all.items[i].options[o].log_probability;
        same &=
            score == alone.items[0].options[o].log_probability && score == reversed.items[items.size() - 1 - i].options[o].log_probability;
      }
    }
    CHECK(same);
  }
}

TEST_CASE("task scores: a table of bigrams gives the accuracies that the table says", "[tasks]") {
  auto const tokenizer = byte_tokenizer();
  BigramModel const bigrams;
  auto const items = some_items(120, true);
  TaskScores const scores = score_items(*bigrams.model, *tokenizer, items, Routing::causal, 0);
  double right = 0, right_norm = 0, worst = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    std::vector<double> sums, means;
    for (size_t o = 0; o < 3; ++o) {
      TaskOption const& option = items[i].options[o];
      sums.push_back(bigrams.log_probability(option));
      means.push_back(sums.back() / static_cast<double>(option.choice.size()));
      worst = std::max(worst, std::abs(sums.back() - scores.items[i].options[o].log_probability));
    }
    right += std::max_element(sums.begin(), sums.end()) - sums.begin() == items[i].answer;
    right_norm += std::max_element(means.begin(), means.end()) - means.begin() == items[i].answer;
  }
  CHECK(worst < 1e-8);
  TaskFile task;
  task.metrics = {"acc", "acc_norm"};
  TaskReading const choice = task_result(task, with(items), scores).reading;
  CHECK(choice.acc.value == Approx(right / 120));
  CHECK(choice.acc_norm.value == Approx(right_norm / 120));
  CHECK(choice.acc.low < 1.0 / 3);  // drawn answers: chance lies within the interval
  CHECK(choice.acc.high > 1.0 / 3);

  // label: options 1 and 2 stand for one answer. pair: two whole texts. cloze: the likeliest continuation, byte by byte, or another.
  auto labels = items, pairs = items, clozes = items;
  double right_label = 0, right_pair = 0, right_cloze = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    double const first = bigrams.log_probability(items[i].options[0]),
                 others = std::log(std::exp(bigrams.log_probability(items[i].options[1])) +
                                   std::exp(bigrams.log_probability(items[i].options[2])));
    labels[i].options[2].answer = 1;
    labels[i].answers = 2;
    labels[i].answer = items[i].answer > 0;
    right_label += (others > first) == (labels[i].answer == 1);
    pairs[i].options.pop_back();
    pairs[i].answers = 2;
    pairs[i].answer = 0;
    for (TaskOption& option : pairs[i].options) option.context.clear();
    right_pair += bigrams.log_probability(pairs[i].options[0]) > bigrams.log_probability(pairs[i].options[1]);
    clozes[i] = {static_cast<int64_t>(i), "", {{"x" + letters(i, 4), "", "", 0}}, 0, 1, false};
    auto last = static_cast<int64_t>(clozes[i].options[0].context.back());
    bool likeliest = true;
    for (int step = 0; step < 3; ++step) {
      at::Tensor const order = bigrams.table_VV[last].argsort(0, /*descending=*/true);
      // Every fourth goes on otherwise; so do those where the likeliest is no byte.
      int64_t rank = i % 4 == 0 && step == 1;
      if (order[rank].item<int64_t>() == byte_vocabulary - 1) ++rank;
      likeliest &= rank == 0;
      last = order[rank].item<int64_t>();
      clozes[i].options[0].continuation += static_cast<char>(last);
    }
    right_cloze += likeliest;
  }
  auto const accuracy = [&](std::vector<TaskItem> const& of) {
    return task_result(task, with(of), score_items(*bigrams.model, *tokenizer, of, Routing::causal, 0)).reading.acc.value;
  };
  CHECK(accuracy(labels) == Approx(right_label / 120));
  CHECK(accuracy(pairs) == Approx(right_pair / 120));
  CHECK(accuracy(clozes) == Approx(right_cloze / 120));
  CHECK(right_cloze > 70);
}

TEST_CASE("task scores: a model that copies is right where the prompt holds the answer", "[tasks]") {
  // Attention that looks at all earlier bytes alike adds their counts to the state, and the head reads the counts.
  at::NoGradGuard const no_grad;
  ModelConfig config;
  config.layers = 1;
  config.width = 260;
  config.heads = 1;
  config.kv_heads = 1;
  config.mlp_width = 8;
  config.context = 64;
  LanguageModel model(config, DepthConfig(), byte_vocabulary, 1);
  model.to(at::kDouble);
  for (NamedWeight const& weight : model.stored()) {
    at::Tensor tensor = weight.tensor;
    for (char const* zero : {"q_proj.weight", "k_proj.weight", "down_proj.weight"})
      if (weight.name.ends_with(zero)) tensor.zero_();
    for (char const* one : {"v_proj.weight", "o_proj.weight"})
      if (weight.name.ends_with(one)) tensor.copy_(10 * at::eye(260, 260, tensor.options()));
    if (weight.name == "model.embed_tokens.weight") tensor.copy_(at::eye(byte_vocabulary, 260, tensor.options()));
  }
  model.eval();
  std::vector<TaskItem> items;
  for (int64_t i = 0; i < 60; ++i) {
    TaskItem& item = items.emplace_back();
    item.answers = 4;
    item.answer = i % 4;
    // Four options without a letter in common, and none twice in one.
    for (int64_t o = 0; o < 4; ++o) {
      std::string choice;
      for (int64_t c = 0; c < 5; ++c) choice += static_cast<char>('a' + 6 * o + (i + c) % 6);
      item.options.push_back({"", " " + choice, choice, o});
    }
    for (TaskOption& option : item.options) option.context = "0123 " + item.options[static_cast<size_t>(item.answer)].choice + " 45";
  }
  TaskFile const task;
  TaskScores const scores = score_items(model, *byte_tokenizer(), items, Routing::causal, 0);
  CHECK(task_result(task, with(items), scores).reading.acc.value == 1);
}

TEST_CASE("task scores: what is longer than the context loses its beginning, and says so", "[tasks]") {
  auto const model = task_model("dense", at::kDouble);
  TaskItem item;
  item.answers = 2;
  for (int64_t o = 0; o < 2; ++o)
    item.options.push_back({letters(1, 40), " " + letters(static_cast<uint64_t>(o), 4), letters(static_cast<uint64_t>(o), 4), o});
  TaskScores const scores = score_items(*model, *byte_tokenizer(), {item}, Routing::causal, 0);
  CHECK(scores.items[0].options[0].cut == 45 - 25);
  TaskOption short_one = item.options[0];
  short_one.context = short_one.context.substr(20);
  CHECK(scores.items[0].options[0].log_probability == Approx(in_one_pass(*model, short_one, Routing::causal)));
  TaskReading const reading = task_result(TaskFile(), with({item}), scores).reading;
  CHECK(reading.cut_items == 1);
  CHECK(reading.cut_tokens == 20);
}
