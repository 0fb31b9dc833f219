// Several ranks share evaluation, calibration and scoring, and all get the numbers of one process.

#include <ATen/ATen.h>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>

#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/fast/scratch.h"
#include "tests/torch/trainer/parallel/in_threads.h"
#include "tests/torch/trainer/train/small_training.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/evaluate/join_scores.h"

using namespace isobath;
using namespace isobath::test;

namespace {

// Byte tokens of a text that is no whole number of windows.
struct SharedText {
  SharedText() : tokenizer(byte_tokenizer()) {
    std::string text;
    for (int i = 0; i < 90; ++i) text += "ranks share number " + std::to_string(i * i * i) + "; ";
    write_shard(scratch / "x.shard", {tokenizer->encode(text)}, tokenizer->document_end(), static_cast<int64_t>(text.size()),
                tokenizer->fingerprint());
    stream = std::make_unique<TokenStream>(std::vector<fs::path>{scratch / "x.shard"});
  }
  Scratch scratch;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<TokenStream> stream;
};

std::shared_ptr<LanguageModel> model_of(DepthCase const& depth_case) {
  Shape shape = small_shape("dense");
  shape.model.layers = 3;
  shape.vocab = 257;
  depth_case.set(shape.depth);
  return make_model(shape);
}

// Every number of an evaluation.
std::vector<double> numbers_of(Evaluation const& evaluation) {
  std::vector<double> numbers{static_cast<double>(evaluation.tokens), static_cast<double>(evaluation.bytes)};
  for (auto const* result : {&evaluation.topk, &evaluation.causal}) {
    if (!*result) continue;
    RoutingResult const& routing = **result;
    numbers.insert(numbers.end(), {routing.loss, routing.bits_per_byte, routing.forward_flops_per_token, routing.mean_depth});
    for (auto const* list : {&routing.capacity, &routing.precision, &routing.recall})
      numbers.insert(numbers.end(), list->begin(), list->end());
    for (LayerStatistics const& layer : routing.layers) {
      numbers.insert(numbers.end(), {layer.f1, layer.f1_ceiling, layer.entropy_token, layer.entropy_position, layer.dead, layer.always_on,
                                     layer.scores.low, layer.scores.high});
      numbers.insert(numbers.end(), layer.scores.tokens.begin(), layer.scores.tokens.end());
      numbers.insert(numbers.end(), layer.scores.picked.begin(), layer.scores.picked.end());
    }
  }
  for (double& number : numbers)
    if (std::isnan(number)) number = -12345;
  return numbers;
}

struct Measured {
  at::Tensor offsets;
  std::vector<double> numbers;
};

Measured measure(DepthCase const& depth_case, SharedText const& text, AcrossRanks const& ranks, int64_t micro_sequences = 4) {
  auto const model = model_of(depth_case);
  EvalSettings settings;
  settings.micro_sequences = micro_sequences;
  settings.ranks = ranks;
  calibrate(*model, *text.stream, 1000, settings);
  auto const evaluation = evaluate(*model, *validation_windows(*text.stream, *model, settings), *text.tokenizer, settings);
  return {model->offsets(), numbers_of(*evaluation)};
}

}  // namespace

TEST_CASE("ranks: evaluation and calibration give what one process gives, bit for bit", "[shared_evaluation]") {
  SharedText const text;
  for (DepthCase const& depth_case : depth_cases()) {
    bool const more = std::string(depth_case.label).starts_with("mod predictor") || std::string(depth_case.label) == "scaled token";
    for (auto const& [count, micro_sequences] :
         std::vector<std::pair<int64_t, int64_t>>{{2, 4}, {3, 4}, {5, 64}}) {  // 5: more than batches
      if (count != 2 && !more) continue;
      Measured const alone = measure(depth_case, text, {}, micro_sequences);
      std::vector<Measured> results(static_cast<size_t>(count));
      in_threads(count, [&, sequences = micro_sequences](Ranks& ranks) {
        results[static_cast<size_t>(ranks.rank())] = measure(depth_case, text, ranks.across(), sequences);
      });
      for (Measured const& result : results) {
        INFO(depth_case.label << ", " << count << " ranks");
        CHECK(result.offsets.equal(alone.offsets));
        CHECK(result.numbers == alone.numbers);
      }
    }
  }
}

TEST_CASE("ranks: an evaluation that one is asked to stop ends for all", "[shared_evaluation]") {
  SharedText const text;
  std::atomic<int> ended = 0;
  in_threads(3, [&](Ranks& ranks) {
    auto const model = model_of(depth_cases().front());
    EvalSettings settings;
    settings.ranks = ranks.across();
    auto const evaluation =
        evaluate(*model, *validation_windows(*text.stream, *model, settings), *text.tokenizer, settings, [&] { return ranks.rank() == 1; });
    if (!evaluation) ++ended;
  });
  CHECK(ended == 3);
}

TEST_CASE("ranks: scores of tasks come together in the order of the items", "[shared_evaluation]") {
  auto const item = [](int64_t number) {
    ItemScore score;
    for (int64_t i = 0; i < number; ++i) score.prompt_depth.push_back(number * 10 + i);
    for (int64_t option = 0; option <= number % 3; ++option)
      score.options.push_back({-0.1 * static_cast<double>(number + option), option % 2 == 1, option, number, {number, option}});
    return score;
  };
  for (int64_t const count : {2, 3, 5})
    in_threads(count, [&](Ranks& ranks) {
      TaskScores own;
      for (int64_t number = ranks.rank(); number < 7; number += ranks.size()) own.items.push_back(item(number));
      own.cost = {10, 20, 30, 40, static_cast<double>(ranks.rank())};
      TaskScores const all = join_scores(own, 7, ranks.across());
      bool right =
          all.items.size() == 7 && all.cost.kv_bytes == 40 * ranks.size() && all.cost.seconds == static_cast<double>(ranks.size() - 1);
      for (int64_t number = 0; number < 7; ++number) {
        ItemScore const &got = all.items[static_cast<size_t>(number)], wanted = item(number);
        right = right && got.prompt_depth == wanted.prompt_depth && got.options.size() == wanted.options.size();
        for (size_t i = 0; right && i < wanted.options.size(); ++i) {
          OptionScore const &a = got.options[i], &b = wanted.options[i];
          right = a.log_probability == b.log_probability && a.greedy == b.greedy && a.tokens == b.tokens && a.cut == b.cut &&
                  a.depth == b.depth;
        }
      }
      if (!right) throw std::runtime_error("scores were joined wrongly");
    });
}
