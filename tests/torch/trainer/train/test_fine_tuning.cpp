// A step on packed examples, against each example read alone and its loss written out.

#include <ATen/ATen.h>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "core/error.h"
#include "data/packed_examples.h"
#include "tests/fast/data/examples_stream.h"
#include "tests/torch/reference.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/run/records.h"
#include "trainer/train/best_validation.h"
#include "trainer/train/step.h"

using namespace isobath;
using namespace isobath::test;

namespace {

constexpr int64_t answer_tokens = 2;

// Examples of 3 to 12 tokens in windows of 16.
ExamplesStream short_examples() {
  return ExamplesStream({5, 9, 3, 12, 7, 4, 6, 11, 3, 8, 5, 10, 4, 9}, answer_tokens, /*end=*/22, /*vocabulary=*/22);
}

Shape shape_of(std::string const& kind) {
  Shape shape = small_shape(kind);
  if (kind == "nested") {
    shape.depth.exits = {1, 2};
    shape.depth.choice = BranchChoice::token;
  }
  if (kind == "mod") shape.depth.causal = Causal::threshold;
  if (kind == "scaled") shape.depth.scale = ScaleBy::token;
  return shape;
}

// The sum of -log p over the answers, each example in a pass of its own.
at::Tensor loss_of_each_alone(LanguageModel& model, ExamplesStream const& text, Routing routing) {
  at::Tensor sum = at::zeros({}, at::kDouble);
  for (auto const& example : text.examples) {
    std::vector<int64_t> const ids(example.begin(), example.end());
    at::Tensor const tokens_T = at::tensor(ids);
    int64_t const T = tokens_T.size(0) - 1;
    ModelOutput const output = model.forward({tokens_T.narrow(0, 0, T).view({1, T}), {}, {}}, routing, {});
    at::Tensor const log_p_TV = model.logits(output.x_ND).log_softmax(-1);
    for (int64_t t = T - answer_tokens; t < T; ++t) sum = sum - log_p_TV[t][ids[static_cast<size_t>(t) + 1]];
  }
  return sum;
}

}  // namespace

TEST_CASE("fine-tuning: loss and gradients are those of the answers, each example read alone", "[fine_tuning]") {
  ExamplesStream const text = short_examples();
  for (char const* kind : {"dense", "mod", "nested", "scaled"}) {
    INFO(kind);
    auto const model = make_model(shape_of(kind));
    model->eval();
    PackedExamples const windows(*text.stream, 16, 1, false);
    Batch const batch = windows.at(0, windows.count());
    CHECK(batch.target_count == std::ssize(text.examples) * answer_tokens);
    DevicePrefetcher to_device(at::kCPU);
    DeviceBatch const loaded = to_device.load(batch);
    at::Tensor const packed =
        model->loss_sum(model->forward(loaded.input(0, batch.sequences), Routing::causal, {}), loaded.targets_N(0, batch.sequences));
    packed.backward();
    auto const gradients = stored_gradients(*model);
    model->zero_grad();
    at::Tensor const alone = loss_of_each_alone(*model, text, Routing::causal);
    alone.backward();
    CHECK((packed - alone).abs().item<double>() < 1e-9 * alone.item<double>());
    for (auto const& [name, gradient] : stored_gradients(*model)) {
      INFO(name);
      CHECK((gradient - gradients.at(name)).abs().max().item<double>() < 1e-9);
    }
  }
}

TEST_CASE("fine-tuning: the loss is a mean over the targets of the whole batch, however it is cut", "[fine_tuning]") {
  ExamplesStream const text = short_examples();
  PackedExamples const windows(*text.stream, 16, 1, false);
  int64_t const n = windows.count();
  Batch const batch = windows.at(0, n);
  std::vector<double> losses;
  at::Tensor expected;
  for (int64_t const micro : {n, int64_t{1}, int64_t{2}}) {
    auto const model = make_model(shape_of("dense"));
    model->train();
    if (!expected.defined()) expected = loss_of_each_alone(*model, text, Routing::topk) / static_cast<double>(batch.target_count);
    Optimizers optimizers = make_optimizers(*model, {});
    MetricWindow window(0, at::kCPU);
    DevicePrefetcher to_device(at::kCPU);
    train_step(*model, optimizers, to_device.load(batch), {micro, 0, 1}, {0, 0, 1, 1e-3}, window);
    CHECK(std::abs(read_window(window, n * 16).loss - expected.item<double>()) < 1e-9);
    losses.push_back(read_window(window, n * 16).grad_norm);
  }
  CHECK(std::abs(losses[1] - losses[0]) < 1e-6 * losses[0]);
  CHECK(std::abs(losses[2] - losses[0]) < 1e-6 * losses[0]);
}

TEST_CASE("fine-tuning: validation is nats per token of the answers, and their bytes", "[fine_tuning]") {
  Scratch const scratch;
  auto const tokenizer = byte_tokenizer();
  std::vector<std::vector<int32_t>> examples{tokenizer->encode("2+2=4"), tokenizer->encode("one and one is two"),
                                             tokenizer->encode("a?yes")};
  std::vector<std::vector<bool>> targets{std::vector<bool>(4), std::vector<bool>(14), std::vector<bool>(2)};
  for (size_t i = 0; i < 3; ++i) targets[i].resize(examples[i].size(), true);  // 4, " two", "yes"
  write_shard(scratch / "x", examples, 256, 28, "x", targets);
  TokenStream const stream({scratch / "x"});
  Shape shape = small_shape("dense");
  shape.vocab = 257;
  shape.model.context = 24;
  auto const model = make_model(shape);
  EvalSettings settings;
  settings.micro_sequences = 2;
  auto const evaluation = evaluate(*model, *validation_windows(stream, *model, settings), *tokenizer, settings);
  REQUIRE(evaluation);
  CHECK(evaluation->tokens == 1 + 4 + 3);
  CHECK(evaluation->bytes == 8);
  double sum = 0;
  model->eval();
  at::NoGradGuard const no_grad;
  for (size_t i = 0; i < 3; ++i) {
    std::vector<int64_t> const ids(examples[i].begin(), examples[i].end());
    int64_t const T = std::ssize(ids) - 1;
    at::Tensor const log_p_TV =
        model->logits(model->forward({at::tensor(ids).narrow(0, 0, T).view({1, T}), {}, {}}, Routing::topk, {}).x_ND).log_softmax(-1);
    for (int64_t t = 0; t < T; ++t)
      if (targets[i][static_cast<size_t>(t) + 1]) sum -= log_p_TV[t][ids[static_cast<size_t>(t) + 1]].item<double>();
  }
  CHECK(std::abs(evaluation->causal->loss - sum / 8) < 1e-9);
}

TEST_CASE("fine-tuning: causal decisions are calibrated on packed windows", "[fine_tuning]") {
  ExamplesStream const text = short_examples();
  auto const model = make_model(shape_of("mod"));
  EvalSettings settings;
  CHECK(calibrate(*model, *text.stream, 1 << 20, settings) == PackedExamples(*text.stream, 16, 1, false).count() * 16);
  CHECK(model->offsets().abs().max().item<double>() > 0);
}

TEST_CASE("patience: validations without a better one are counted in a row", "[fine_tuning]") {
  TrainState state;
  TrainConfig train;
  auto const note = [&](double loss, double accuracy, BestBy best = BestBy::loss) {
    ValidationReading reading;
    reading.evaluation.topk.emplace().loss = loss;
    reading.accuracy = accuracy;
    state.step += 10;
    note_validation(state, reading, best);
  };
  note(3, 0.1);
  note(3, 0.2);  // no better
  CHECK_FALSE(out_of_patience(state, train));
  train.patience = 2;
  CHECK_FALSE(out_of_patience(state, train));
  note(2.5, 0.1);
  CHECK((state.best_step == 30 && state.validations_without_better == 0));
  note(2.6, 0.9);
  note(std::nan(""), 0.9);
  CHECK(out_of_patience(state, train));
  CHECK(state.best_step == 30);
  forget_best(state);
  CHECK_FALSE(out_of_patience(state, train));
  note(9, 0.5, BestBy::accuracy);
  note(1, 0.4, BestBy::accuracy);
  note(9, 0.6, BestBy::accuracy);
  CHECK((state.best_step == 80 && state.best_value == 0.4));
  CHECK_THROWS_AS(note(1, std::nan(""), BestBy::accuracy), Error);
}

TEST_CASE("the accuracy of several tasks is the mean of their main metrics under causal routing", "[fine_tuning]") {
  std::vector<ScoredTask> tasks(4);
  CHECK(std::isnan(mean_accuracy({})));
  for (size_t i = 0; i < 4; ++i) {
    tasks[i].routing = i % 2 == 0 ? "causal" : "topk";
    tasks[i].result.main_metric = i < 2 ? "acc_norm" : "bits_per_byte";
    tasks[i].result.reading.acc.value = 0.5;
    tasks[i].result.reading.acc_norm.value = i == 1 ? 0.9 : 0.75;
    tasks[i].result.reading.bits_per_byte.value = 3;
  }
  CHECK(mean_accuracy(tasks) == 0.625);
  for (ScoredTask& task : tasks) task.routing = "topk";
  CHECK(mean_accuracy(tasks) == (0.75 + 0.9 + 0.5 + 0.5) / 4);
}
