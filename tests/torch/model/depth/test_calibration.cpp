// Cuts (offsets) of the causal decisions: calibrated cuts let the capacity through, training neither uses nor moves them, and checkpoints
// store them.

#include <ATen/ATen.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>
#include <map>
#include <tuple>

#include "core/error.h"
#include "core/random.h"
#include "data/loader.h"
#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "format/safetensors.h"
#include "model/weights.h"
#include "nn/router/router.h"
#include "tests/fast/scratch.h"
#include "tests/torch/reference.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/run/saved_model.h"
#include "trainer/train/step.h"

using namespace isobath;
using namespace isobath::test;

namespace {

// Random bytes: no item is so frequent that a router of items could not split the text where it is told to.
struct CalibrationText {
  explicit CalibrationText(uint64_t seed, int64_t tokens = 128 * 32) : tokenizer(byte_tokenizer()) {
    std::vector<int32_t> document(static_cast<size_t>(tokens));
    for (size_t i = 0; i < document.size(); ++i) document[i] = static_cast<int32_t>(random_bits(seed, i) % 256);
    write_shard(scratch / "x.shard", {document}, tokenizer->document_end(), tokens, tokenizer->fingerprint());
    stream = std::make_unique<TokenStream>(std::vector<fs::path>{scratch / "x.shard"});
  }
  Scratch scratch;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<TokenStream> stream;
};

// Layers 1 and 3 of four are routed, their capacities {0.5, 0.25}.
Shape calibration_shape(std::string const& router, std::string const& causal) {
  Shape shape = small_shape();
  shape.vocab = 257;
  shape.model.context = 32;
  shape.depth.router = router;
  shape.depth.causal = causal;
  shape.depth.capacity = {0.5, 0.25};
  return shape;
}

EvalSettings causal_settings() {
  EvalSettings settings;
  settings.routing = EvalRouting::causal;
  settings.micro_sequences = 64;
  return settings;
}

std::vector<double> capacities_that_ran(LanguageModel& model, CalibrationText const& text) {
  return evaluate(model, *validation_windows(*text.stream, model, causal_settings()), *text.tokenizer, causal_settings())->causal->capacity;
}

auto every_decision() {
  return GENERATE(table<char const*, char const*>({{"linear", "none"},
                                                   {"linear", "bce"},
                                                   {"linear", "predictor"},
                                                   {"linear", "threshold"},
                                                   {"position", "none"},
                                                   {"position", "bce"},
                                                   {"token", "none"},
                                                   {"token", "bce"},
                                                   {"token", "predictor"},
                                                   {"token", "threshold"},
                                                   {"random", "none"},
                                                   {"position", "threshold"},
                                                   {"mlp", "bce"},
                                                   {"position", "predictor"}}));
}

std::map<std::string, at::Tensor> copies_of_stored(LanguageModel const& model) {
  std::map<std::string, at::Tensor> copies;
  for (auto const& stored : model.stored()) copies[stored.name] = stored.tensor.clone();
  return copies;
}

void fill_stored(LanguageModel& model, std::string const& ending, double value) {
  for (auto const& stored : model.stored())
    if (stored.name.ends_with(ending)) at::Tensor(stored.tensor).select(0, 0).fill_(value);
}

}  // namespace

TEST_CASE("calibrated decisions let each layer's capacity through", "[calibration]") {
  CalibrationText const text(1);
  auto const [router, causal] = every_decision();
  auto model = make_model(calibration_shape(router, causal), at::kFloat);
  fill_stored(*model, ".threshold", 0.3);
  std::vector<double> asked = model->depth_config().capacity;
  for (std::vector<double> const& capacities : {asked, {0.125, 0.75}, {1, 0.25}}) {
    INFO(router << " " << causal << " " << capacities[0] << " " << capacities[1]);
    model->set_capacities(capacities);
    CHECK(calibrate(*model, *text.stream, text.stream->size(), causal_settings()) == 128 * 32);
    auto const ran = capacities_that_ran(*model, text);
    REQUIRE(ran.size() == 2);
    for (size_t i = 0; i < 2; ++i) {
      if (capacities[i] == 1)
        CHECK(ran[i] == 1);
      else
        CHECK(ran[i] == Catch::Approx(capacities[i]).epsilon(router == std::string("random") ? 0.2 : 0.1));  // coins vary
    }
  }
}

TEST_CASE("layers that share a budget have one offset and select their shares on average", "[calibration]") {
  CalibrationText const text(1);
  for (char const* causal : {"bce", "predictor", "threshold"}) {
    INFO(causal);
    auto model = make_model(calibration_shape("linear", causal), at::kFloat);
    fill_stored(*model, ".threshold", 0.3);
    model->set_capacities({0.5, 0.25});
    EvalSettings settings = causal_settings();
    calibrate(*model, *text.stream, text.stream->size(), settings);
    at::Tensor const own_N = model->offsets();
    CHECK(own_N[0].item<float>() != own_N[1].item<float>());
    settings.budget = CalibrationBudget::model;
    calibrate(*model, *text.stream, text.stream->size(), settings);
    at::Tensor const shared_N = model->offsets();
    CHECK(shared_N[0].item<float>() == shared_N[1].item<float>());
    std::vector<double> const ran = capacities_that_ran(*model, text);
    CHECK((ran[0] + ran[1]) / 2 == Catch::Approx(0.375).epsilon(0.05));
    CHECK(std::abs(ran[0] - 0.5) > 0.02);  // the layers do compete
    // One of capacity 1 does not take part.
    model->set_capacities({1, 0.25});
    calibrate(*model, *text.stream, text.stream->size(), settings);
    CHECK(capacities_that_ran(*model, text)[1] == Catch::Approx(0.25).epsilon(0.1));
    settings.budget = CalibrationBudget::layer;
    model->set_capacities({0.5, 0.25});
    calibrate(*model, *text.stream, text.stream->size(), settings);
    CHECK(model->offsets().equal(own_N));
  }
  Shape nested = small_shape("nested");
  nested.depth.exits = {1};
  CHECK_THROWS_AS(make_model(nested)->share_budget(true), Error);
}

TEST_CASE("a layer of capacity 1 runs everyone, whatever its cut", "[calibration]") {
  char const* causal = GENERATE("none", "bce", "predictor", "threshold");
  bool const training = GENERATE(false, true);
  INFO(causal << (training ? " training" : ""));
  auto model = make_model(calibration_shape("linear", causal));
  fill_stored(*model, ".threshold", 100);
  model->train(training);
  model->set_capacities({0.25, 1});
  at::NoGradGuard const no_grad;
  for (double const cut : {-100.0, 0.0, 100.0}) {
    model->set_offsets(at::full({2}, cut));
    ModelOutput const output = model->forward({random_tokens(3, 32, 257), {}, {}}, Routing::causal, {});
    CHECK(output.routing_NC[1][routing_rows].item<int64_t>() == 3 * 32);
    CHECK(output.routing_NC[1][routing_causal].item<int64_t>() == 3 * 32);
  }
}

TEST_CASE("calibration on small batches lets the capacity through, too", "[calibration]") {
  CalibrationText const text(2);
  auto model = make_model(calibration_shape("linear", "bce"), at::kFloat);
  EvalSettings settings = causal_settings();
  settings.micro_sequences = GENERATE(5, 16, 1000);
  calibrate(*model, *text.stream, text.stream->size(), settings);
  auto const ran = capacities_that_ran(*model, text);
  CHECK(ran[0] == Catch::Approx(0.5).epsilon(0.1));
  CHECK(ran[1] == Catch::Approx(0.25).epsilon(0.1));
}

TEST_CASE("a cut lets the number through that is asked for, or with equal logits the nearest there is", "[calibration]") {
  DepthConfig depth;
  depth.kind = "mod";
  RouterImpl router({}, depth, 11);
  auto const let_through = [&](at::Tensor const& logit_N, int64_t rows) {
    router.calibrate(logit_N, rows);
    return logit_N.gt(router.cut).sum().item<int64_t>();
  };
  at::Tensor const distinct = normal_tensor({40}, 3).to(at::kFloat);
  for (int64_t rows = 1; rows <= 40; ++rows) CHECK(let_through(distinct, rows) == rows);
  float const one = 1, two = std::nextafter(one, 2.F), three = std::nextafter(two, 2.F);
  CHECK(let_through(at::tensor({one, two, three}), 1) == 1);
  CHECK(let_through(at::tensor({one, two, three}), 2) == 2);

  for (uint64_t seed = 1; seed < 20; ++seed) {
    at::Tensor const tied = (normal_tensor({40}, seed) * 1.5).floor();
    for (int64_t rows = 1; rows <= 40; ++rows) {
      int64_t nearest = rows;  // from nobody
      for (int64_t i = 0; i < 40; ++i) nearest = std::min(nearest, std::abs(tied.ge(tied[i]).sum().item<int64_t>() - rows));
      CHECK(std::abs(let_through(tied, rows) - rows) == nearest);
    }
  }
}

TEST_CASE("calibrated decisions let the planned share through, whatever the batches", "[calibration]") {
  char const* causal = GENERATE("none", "bce", "predictor", "threshold");
  char const* target = GENERATE("block", "attention", "mlp");
  INFO(causal << " " << target);
  Shape shape = calibration_shape("linear", causal);
  shape.depth.target = target;
  auto model = make_model(shape);
  model->eval();
  at::NoGradGuard const no_grad;
  at::Tensor const tokens = random_tokens(5, 32, shape.vocab);
  model->set_offsets(at::tensor({100.0, -100.0}));
  model->calibrate({{tokens, {}, {}}}, {});
  at::Tensor const cuts = model->offsets();
  ModelOutput const second = model->forward({tokens, {}, {}}, Routing::causal, {});
  // One batch after the other: the quantile of all their scores, not a mean of quantiles.
  model->calibrate({{tokens.narrow(0, 0, 2), {}, {}}, {tokens.narrow(0, 2, 3), {}, {}}}, {});
  CHECK(at::allclose(model->offsets(), cuts, 1e-9, 1e-12));
  for (int64_t layer = 0; layer < 2; ++layer) {
    CHECK(second.routing_NC[layer][routing_rows].item<int64_t>() == 5 * (layer == 0 ? 16 : 8));
    // Of a decision by the score the best ran.
    if (std::string(causal) == "predictor") continue;
    RoutedLayer const& routed = second.routed_layers[static_cast<size_t>(layer)];
    CHECK(routed.score_BT.masked_select(routed.executed_BT).min().item<double>() >
          routed.score_BT.masked_select(routed.executed_BT.logical_not()).max().item<double>());
  }
}

TEST_CASE("calibration takes the last windows of the training order, and of no other text", "[calibration]") {
  CalibrationText const text(3), other(4);
  Shape const shape = calibration_shape("linear", "bce");
  auto model = make_model(shape, at::kFloat), by_hand = make_model(shape, at::kFloat);
  EvalSettings settings = causal_settings();
  settings.seed = 9;
  CHECK(calibrate(*model, *text.stream, 40 * 32 + 7, settings) == 40 * 32);
  at::Tensor const cuts = model->offsets();
  CHECK(cuts.ne(0).all().item<bool>());
  Loader const loader(*text.stream, 32, 9, /*ordered=*/false, false);
  Batch const batch = loader.at(loader.samples_per_epoch() - 40, 40);
  by_hand->eval();
  DevicePrefetcher to_device(at::kCPU);
  by_hand->calibrate({to_device.load(batch).input(0, 40)}, {});
  CHECK(at::allclose(by_hand->offsets(), cuts, 1e-5, 1e-6));

  calibrate(*model, *text.stream, 40 * 32, settings);
  CHECK(at::equal(model->offsets(), cuts));
  calibrate(*model, *other.stream, 40 * 32, settings);
  CHECK_FALSE(at::allclose(model->offsets(), cuts, 1e-5, 1e-6));
  settings.seed = 10;
  calibrate(*model, *text.stream, 40 * 32, settings);
  CHECK_FALSE(at::allclose(model->offsets(), cuts, 1e-5, 1e-6));

  CHECK(calibrate(*model, *text.stream, 1, settings) == 32);  // at least a window, at most the text
  CHECK(calibrate(*model, *text.stream, 1 << 30, settings) == 128 * 32);
  CHECK(calibrate(*model, *text.stream, 0, settings) == 0);
  CHECK(model->offsets().eq(0).all().item<bool>());
  LanguageModel dense(shape.model, DepthConfig{}, shape.vocab, 1);
  CHECK(calibrate(dense, *text.stream, 1000, settings) == 0);
}

TEST_CASE("calibration moves nothing but the cuts and leaves the mode", "[calibration]") {
  CalibrationText const text(5);
  bool const training = GENERATE(false, true);
  char const* causal = GENERATE("threshold", "predictor");
  auto model = make_model(calibration_shape("linear", causal), at::kFloat);
  fill_stored(*model, ".threshold", 0.3);
  auto const before = copies_of_stored(*model);
  model->train(training);
  calibrate(*model, *text.stream, 2000, causal_settings());
  CHECK(model->is_training() == training);
  for (auto const& [name, tensor] : copies_of_stored(*model)) {
    INFO(name);
    CHECK(at::equal(tensor, before.at(name)) == !name.ends_with(".cut"));
  }
}

TEST_CASE("cuts matter outside of training alone", "[calibration]") {
  char const* causal = GENERATE("none", "bce", "predictor", "threshold");
  auto const routing = GENERATE(Routing::topk, Routing::causal);
  INFO(causal << (routing == Routing::topk ? " topk" : " causal"));
  Shape const shape = calibration_shape("linear", causal);
  at::Tensor const tokens = random_tokens(3, 32, shape.vocab), targets = random_tokens(3, 32, shape.vocab, 6);
  auto at_zero = make_model(shape), at_five = make_model(shape);
  at_five->set_offsets(at::full({2}, 5));
  auto const run = [&](LanguageModel& model, bool training) {
    model.train(training);
    ModelOutput const output = model.forward({tokens, {}, {}}, routing, {});
    at::Tensor loss = model.loss_sum(output, targets);
    for (at::Tensor const& more : {output.router_loss, output.predictor_loss})
      if (more.defined()) loss = loss + more;
    if (training) loss.backward();
    return output.x_ND.detach();
  };
  CHECK(at::equal(run(*at_zero, true), run(*at_five, true)));
  auto const gradients = stored_gradients(*at_zero);
  for (auto const& [name, gradient] : stored_gradients(*at_five)) {
    INFO(name);
    CHECK(at::equal(gradient, gradients.at(name)));
  }
  CHECK(at::equal(run(*at_zero, false), run(*at_five, false)) == (routing == Routing::topk));
}

TEST_CASE("training never moves the cuts", "[calibration]") {
  CalibrationText const text(6);
  char const* causal = GENERATE("bce", "predictor", "threshold");
  auto model = make_model(calibration_shape("linear", causal), at::kFloat);
  at::Tensor const cuts = at::tensor({0.7F, -0.2F});
  model->set_offsets(cuts);
  auto optimizers = make_optimizers(*model, {});
  MetricWindow window(2, at::kCPU);
  Loader const loader(*text.stream, 32, 1, false, false);
  DevicePrefetcher to_device(at::kCPU);
  for (int64_t step = 0; step < 3; ++step) {
    Batch const batch = loader.at(step * 4, 4);
    train_step(*model, optimizers, to_device.load(batch), {2, 0.01, 1, 0, std::string(causal) == "threshold"}, {step, 0, 0, 1e-2}, window);
  }
  CHECK(at::equal(model->offsets(), cuts));
}

TEST_CASE("cuts are stored with the weights, and are 0 where a file has none", "[calibration]") {
  Scratch const scratch;
  Shape const shape = calibration_shape("linear", "bce");
  auto model = make_model(shape, at::kFloat), other = make_model(shape, at::kFloat, 4);
  at::Tensor const cuts = at::tensor({0.7F, -0.2F});
  model->set_offsets(cuts);
  write_tensors(scratch / "new", export_weights(*model), {});
  NamedTensors older;
  for (auto const& named : export_weights(*model))
    if (!named.first.ends_with("router.cut")) older.push_back(named);
  REQUIRE(older.size() + 2 == export_weights(*model).size());
  write_tensors(scratch / "older", older, {});

  import_weights(*other, stored_weights(scratch / "new"));
  CHECK(at::equal(other->offsets(), cuts));
  import_weights(*other, stored_weights(scratch / "older"));
  CHECK(other->offsets().eq(0).all().item<bool>());
  auto const stored = copies_of_stored(*model);
  for (auto const& [name, tensor] : copies_of_stored(*other))
    if (!name.ends_with(".cut")) CHECK(at::equal(tensor, stored.at(name)));
}

TEST_CASE("a model saved with its cuts decides the same when it is loaded", "[calibration]") {
  CalibrationText const text(7);
  Shape const shape = calibration_shape("linear", "predictor");
  auto model = make_model(shape, at::kFloat);
  Config config;
  config.model = shape.model;
  config.depth = shape.depth;
  config.tokenizer.kind = "byte";
  TrainState state;
  state.step = 4;
  save_checkpoint(text.scratch / "trained", *model, make_optimizers(*model, {}), MetricWindow(2, at::kCPU),
                  {state, config, *text.tokenizer});

  Checkpoint const checkpoint = open_checkpoint(text.scratch / "trained");
  auto const changed = load_model(checkpoint);
  CHECK(changed->offsets().eq(0).all().item<bool>());
  config.depth.capacity = {0.25, 0.75};
  changed->set_capacities(config.depth.capacity);
  calibrate(*changed, *text.stream, 4096, causal_settings());
  fs::path const folder = text.scratch / "calibrated";
  save_model_as(folder, checkpoint, *changed, config);
  CHECK_NOTHROW(verify_checkpoint(folder));

  Checkpoint const again = open_checkpoint(folder);
  CHECK(again.config.depth.capacity == std::vector<double>{0.25, 0.75});
  CHECK(again.state.step == 4);
  auto const loaded = load_model(again);
  CHECK(at::equal(loaded->offsets(), changed->offsets()));
  at::NoGradGuard const no_grad;
  at::Tensor const tokens = random_tokens(3, 32, shape.vocab);
  for (Routing const routing : {Routing::topk, Routing::causal}) {
    ModelOutput const expected = changed->forward({tokens, {}, {}}, routing, {}), output = loaded->forward({tokens, {}, {}}, routing, {});
    CHECK(at::equal(output.x_ND, expected.x_ND));
    CHECK(at::equal(output.routing_NC, expected.routing_NC));
    CHECK_FALSE(at::equal(output.x_ND, load_model(checkpoint)->forward({tokens, {}, {}}, routing, {}).x_ND));
  }

  for (fs::path const& taken : {folder, text.scratch / "trained"}) {
    try {
      save_model_as(taken, checkpoint, *model, config);
      FAIL("not thrown");
    } catch (Error const& error) {
      CHECK(error.code() == ExitCode::checkpoint);
    }
  }
  CHECK(at::equal(load_model(open_checkpoint(folder))->offsets(), changed->offsets()));
}
