#include "trainer/train/trainer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <map>

#include "core/error.h"
#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "model/weights.h"
#include "tests/fast/scratch.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/run/records.h"
#include "trainer/run/saved_model.h"
#include "trainer/train/learner.h"

using namespace isobath;

namespace {

ModelConfig small_model() {
  ModelConfig model;
  model.layers = 3;
  model.width = 16;
  model.heads = model.kv_heads = 2;
  model.context = 16;
  return model;
}

DepthConfig routed_depth(std::string const& causal) {
  DepthConfig depth;
  depth.kind = "mod";
  depth.capacity = {0.25};
  depth.causal = causal;
  return depth;
}

// A stream of repeated text as byte tokens.
struct SmallText {
  SmallText() : tokenizer(byte_tokenizer()) {
    std::string text;
    for (int i = 0; i < 60; ++i) text += "one two three four " + std::to_string(i * i) + "; ";
    write_shard(scratch / "x.shard", {tokenizer->encode(text)}, tokenizer->document_end(), static_cast<int64_t>(text.size()),
                tokenizer->fingerprint());
    stream = std::make_unique<TokenStream>(std::vector<fs::path>{scratch / "x.shard"});
    loader = std::make_unique<Loader>(*stream, 16, 1, false, false);
  }
  Scratch scratch;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<TokenStream> stream;
  std::unique_ptr<Loader> loader;
};

struct SmallRun {
  LanguageModel model;
  Optimizers optimizers;
  MetricWindow window;
  SmallRun(DepthConfig const& depth, TrainConfig const& train = {})
      : model(small_model(), depth, 257, 1), optimizers(make_optimizers(model, train)), window(depth.kind == "mod" ? 1 : 0, at::kCPU) {}
  void steps(SmallText const& text, int64_t first, int64_t last, StepSettings const& settings, double lr = 1e-2) {
    DevicePrefetcher to_device(at::kCPU);
    for (int64_t step = first; step < last; ++step) {
      Batch const batch = text.loader->at(step * 4, 4);
      train_step(model, optimizers, to_device.load(batch), settings, {step, 0, 0, lr}, window);
    }
  }
};

std::map<std::string, at::Tensor> weights_by_name(LanguageModel const& model) {
  std::map<std::string, at::Tensor> weights;
  for (auto const& [name, tensor] : export_weights(model)) weights[name] = tensor.clone();
  return weights;
}

}  // namespace

TEST_CASE("micro-batches change a step's numbers only by rounding") {
  SmallText const text;
  for (char const* causal : {"bce", "predictor"}) {
    SmallRun whole(routed_depth(causal)), parts(routed_depth(causal)), uneven(routed_depth(causal));
    whole.steps(text, 0, 1, {4, 0.01, 1});
    parts.steps(text, 0, 1, {1, 0.01, 1});
    uneven.steps(text, 0, 1, {3, 0.01, 1});
    for (SmallRun* other : {&parts, &uneven}) {
      auto const a = read_window(whole.window, 64), b = read_window(other->window, 64);
      CHECK(b.loss == Catch::Approx(a.loss).epsilon(1e-6));
      CHECK(b.grad_norm == Catch::Approx(a.grad_norm).epsilon(1e-5));
      if (std::string(causal) == "bce") {
        CHECK(b.router_loss == Catch::Approx(a.router_loss).epsilon(1e-6));
      } else {
        CHECK(b.predictor_loss == Catch::Approx(a.predictor_loss).epsilon(1e-6));
        CHECK(std::isnan(b.router_loss));
      }
      CHECK(at::equal(whole.window.routing_NC.select(1, routing_rows), other->window.routing_NC.select(1, routing_rows)));
    }
  }
}

TEST_CASE("training learns, and the window averages what happened") {
  SmallText const text;
  SmallRun run(routed_depth("predictor"));
  run.steps(text, 0, 5, {4, 0, 1});
  double const before = read_window(run.window, 5 * 64).loss;
  CHECK(before == Catch::Approx(std::log(257)).epsilon(0.15));
  CHECK(read_window(run.window, 5 * 64).routing.capacity[0] == 0.25);
  run.window.clear();
  run.steps(text, 5, 60, {4, 0, 1});
  run.window.clear();
  run.steps(text, 60, 65, {4, 0, 1});
  CHECK(read_window(run.window, 5 * 64).loss < 0.6 * before);
}

TEST_CASE("switching the predictor on leaves the language model's weights bit-identical") {
  SmallText const text;
  SmallRun with(routed_depth("predictor")), without(routed_depth("none"));
  with.steps(text, 0, 8, {2, 0, 1});
  without.steps(text, 0, 8, {2, 0, 1});
  auto const trained = weights_by_name(with.model), plain = weights_by_name(without.model);
  auto const initial = weights_by_name(SmallRun(routed_depth("predictor")).model);
  size_t shared = 0;
  for (auto const& [name, tensor] : trained) {
    if (name.find("predictor") != std::string::npos) {
      CHECK_FALSE(at::equal(tensor, initial.at(name)));  // it did train
    } else if (plain.contains(name)) {
      INFO(name);
      CHECK(at::equal(tensor, plain.at(name)));
      ++shared;
    }
  }
  CHECK(shared > 20);
}

TEST_CASE("weight decay touches matrices, not norms, router vectors or biases") {
  SmallText const text;
  TrainConfig decay, none;
  decay.weight_decay = 0.5;
  none.weight_decay = 0;
  SmallRun with(routed_depth("predictor"), decay), without(routed_depth("predictor"), none);
  with.steps(text, 0, 1, {2, 0, 1});
  without.steps(text, 0, 1, {2, 0, 1});
  auto const a = weights_by_name(with.model), b = weights_by_name(without.model);
  for (auto const& [name, tensor] : a) {
    INFO(name);
    bool const matrix = tensor.dim() == 2 && name.find("predictor") == std::string::npos;
    CHECK(at::equal(tensor, b.at(name)) == !matrix);
  }
}

TEST_CASE("routers have a learning rate and a decay of their own") {
  SmallText const text;
  DepthConfig plain = routed_depth("bce"), slow = plain, decayed = plain;
  slow.router_lr = 0.25;
  decayed.router_weight_decay = 0.5;
  auto const change = [&](DepthConfig const& depth) {
    SmallRun run(depth);
    auto const before = weights_by_name(run.model);
    run.steps(text, 0, 1, {4, 0.01, 1});
    auto after = weights_by_name(run.model);
    for (auto& [name, tensor] : after) tensor = tensor - before.at(name);
    return after;
  };
  auto const of_plain = change(plain), of_slow = change(slow), of_decayed = change(decayed);
  for (auto const& [name, difference] : of_plain) {
    INFO(name);
    if (!name.ends_with(".router.weight")) {
      CHECK(at::equal(of_slow.at(name), difference));
      CHECK(at::equal(of_decayed.at(name), difference));
    } else {
      CHECK(at::allclose(of_slow.at(name), 0.25 * difference, 1e-3, 1e-7));
      CHECK_FALSE(at::allclose(of_decayed.at(name), difference, 1e-3, 1e-7));
    }
  }
}

TEST_CASE("training by the threshold keeps to the capacity and never looks ahead") {
  SmallText const text;
  DepthConfig depth = routed_depth("threshold");
  depth.threshold_training = true;
  depth.threshold_decay = 0.9;
  depth.gate = "tanh";
  SmallRun run(depth);
  StepSettings const settings{4, 0, 1, 0, true};
  run.steps(text, 0, 40, settings, 3e-3);
  run.window.clear();
  run.steps(text, 40, 140, settings, 3e-3);
  WindowReading const reading = read_window(run.window, 100 * 64);
  CHECK(reading.routing.capacity[0] == Catch::Approx(0.25).epsilon(0.1));
  CHECK(reading.routing.work[0].rows != 100 * 16);  // not top-k's exact count
  CHECK(reading.loss < 4.5);                        // it learns

  // The loss that trains position t knows nothing of later tokens.
  at::Tensor const tokens = at::arange(16).view({1, 16}), other = tokens.clone();
  other.narrow(1, 9, 7).add_(100);
  run.model.train();
  auto const states = [&](at::Tensor const& t) {
    return run.model.forward({t, {}, {}}, Routing::causal, {}).x_ND.detach().narrow(0, 0, 9);
  };
  at::Tensor const threshold = weights_by_name(run.model).at("model.layers.1.router.threshold");
  at::Tensor const before = states(tokens);
  for (auto const& stored : run.model.stored())
    if (stored.name.ends_with("threshold")) at::Tensor(stored.tensor).copy_(threshold);  // each forward pass in training moves it
  CHECK(at::allclose(before, states(other), 1e-5, 1e-6));
}

TEST_CASE("a z-loss keeps scores smaller, and is recorded") {
  SmallText const text;
  DepthConfig with = routed_depth("bce"), without = with;
  with.z_loss_weight = 1;
  SmallRun a(with), b(without);
  a.steps(text, 0, 40, {4, 0.01, 1, 1.0});
  b.steps(text, 0, 40, {4, 0.01, 1, 0});
  CHECK(std::isnan(read_window(b.window, 0).z_loss));
  a.window.clear();
  a.steps(text, 40, 41, {4, 0.01, 1, 1.0});
  CHECK(read_window(a.window, 64).z_loss < 0.3);  // softplus(0)^2 is 0.48
}

TEST_CASE("gradients that are not finite are counted, in the window and in a row") {
  SmallText const text;
  SmallRun run(DepthConfig{});
  run.steps(text, 0, 2, {4, 0, 1});
  auto const before = weights_by_name(run.model);
  at::Tensor norm = run.model.named_parameters()["norm"];
  at::Tensor const good = norm.detach().clone();
  auto const fill = [&](at::Tensor const& value) {
    at::NoGradGuard const no_grad;
    norm.copy_(value);
  };
  fill(good.mul(std::nan("")));
  run.steps(text, 2, 5, {4, 0, 1});
  CHECK(read_window(run.window, 0).streak == 3);
  fill(good);
  for (auto const& [name, tensor] : weights_by_name(run.model)) CHECK(at::equal(tensor, before.at(name)));
  CHECK(std::isfinite(read_window(run.window, 0).loss));  // of the two good steps
  run.steps(text, 5, 6, {4, 0, 1});
  CHECK(read_window(run.window, 0).skipped == 3);
  CHECK(read_window(run.window, 0).streak == 0);
}

TEST_CASE("training goes on from a checkpoint bit for bit, sums of the window included") {
  SmallText const text;
  std::vector<DepthConfig> depths{routed_depth("none"), routed_depth("bce"), routed_depth("predictor")};
  for (char const* router : {"mlp", "token", "position", "norm", "random"}) {
    DepthConfig& depth = depths.emplace_back(routed_depth("none"));
    depth.router = router;
    depth.gate = "tanh";
  }
  depths[3].router_input = "normalised";
  depths[3].score_noise = 0.5;
  depths[3].z_loss_weight = 0.1;
  depths[3].router_lr = 3;
  depths[4].target = "attention";
  depths[4].skip_path = "linear";
  depths[5].target = "mlp";
  depths[5].skip_path = "low_rank";
  depths.push_back(routed_depth("threshold"));
  depths.back().threshold_training = true;
  for (DepthConfig const& depth : depths) {
    StepSettings const settings{2, 0.01, 1, depth.z_loss_weight, depth.threshold_training};
    Config config;
    config.model = small_model();
    config.depth = depth;
    config.tokenizer.kind = "byte";
    SmallRun straight(config.depth), first(config.depth), second(config.depth);
    straight.steps(text, 0, 7, settings);
    first.steps(text, 0, 4, settings);
    fs::path const folder = text.scratch / ("run-" + depth.router + "-" + depth.causal.name()) / checkpoint_name(4);
    TrainState state;
    state.step = 4;
    save_checkpoint(folder, first.model, first.optimizers, first.window, {state, config, *text.tokenizer});

    Checkpoint const checkpoint = open_checkpoint(find_checkpoint(folder));
    CHECK(checkpoint.state.step == 4);
    CHECK(checkpoint.tokenizer->fingerprint() == text.tokenizer->fingerprint());
    restore_training(folder, second.model, second.optimizers, second.window);
    second.steps(text, 4, 7, settings);
    auto const resumed = weights_by_name(second.model);
    for (auto const& [name, tensor] : weights_by_name(straight.model)) {
      INFO(depth.router << " " << depth.causal << " " << name);
      CHECK(at::equal(tensor, resumed.at(name)));
    }
    auto const a = straight.window.tensors(), b = second.window.tensors();
    for (size_t i = 0; i < a.size(); ++i) CHECK(at::equal(a[i].values.nan_to_num(), b[i].values.nan_to_num()));
    // The saved model alone is the one that was trained.
    for (auto const& [name, tensor] : export_weights(*load_model(checkpoint)))
      CHECK(at::equal(tensor, weights_by_name(first.model).at(name)));
  }
}

TEST_CASE("validation covers every token once, moves nothing, and counts what ran") {
  SmallText const text;
  SmallRun run(routed_depth("none"));
  run.steps(text, 0, 3, {4, 0, 1});
  auto const before = weights_by_name(run.model);
  EvalSettings settings;
  settings.micro_sequences = 5;
  auto const all = evaluate(run.model, *validation_windows(*text.stream, run.model, settings), *text.tokenizer, settings);
  REQUIRE(all);
  CHECK(all->tokens == text.stream->size() - 1);
  CHECK(all->bytes == text.stream->size() - 2);  // the document end is a token and no text
  CHECK(run.model.is_training());
  for (auto const& [name, tensor] : weights_by_name(run.model)) CHECK(at::equal(tensor, before.at(name)));

  CHECK(all->topk->bits_per_byte ==
        Catch::Approx(all->topk->loss * static_cast<double>(all->tokens) / std::log(2.0) / static_cast<double>(all->bytes)));
  // Whole windows of 16 tokens, and one of the tokens that are left.
  int64_t const tokens = text.stream->size() - 1, windows = tokens / 16, left = tokens % 16;
  REQUIRE(left > 4);
  auto const flops = [&](int64_t length) { return planned_forward_flops(small_model(), routed_depth("none"), 257, 1, length); };
  double const planned = static_cast<double>(windows * flops(16) + flops(left)) / static_cast<double>(tokens);
  CHECK(all->topk->forward_flops_per_token == Catch::Approx(planned).epsilon(1e-12));
  CHECK(all->topk->capacity[0] == static_cast<double>(windows * 4 + left / 4) / static_cast<double>(tokens));
  bool const fewer = all->causal->capacity[0] < all->topk->capacity[0];
  CHECK((all->causal->forward_flops_per_token < planned) == fewer);

  settings.micro_sequences = 2;
  auto const again = evaluate(run.model, *validation_windows(*text.stream, run.model, settings), *text.tokenizer, settings);
  CHECK(again->topk->loss == Catch::Approx(all->topk->loss).epsilon(1e-6));
  CHECK(again->causal->loss == Catch::Approx(all->causal->loss).epsilon(1e-6));
  settings.tokens = 40;
  CHECK(evaluate(run.model, *validation_windows(*text.stream, run.model, settings), *text.tokenizer, settings)->tokens ==
        32);  // whole windows
  CHECK_FALSE(evaluate(run.model, *validation_windows(*text.stream, run.model, settings), *text.tokenizer, settings, [] { return true; }));
}

TEST_CASE("a text shorter than the context is evaluated as it is: padding neither counts nor competes") {
  SmallRun run(routed_depth("predictor"));
  auto const tokenizer = byte_tokenizer();
  Scratch const scratch;
  write_shard(scratch / "s.shard", {tokenizer->encode("nine here")}, tokenizer->document_end(), 9, tokenizer->fingerprint());
  TokenStream const stream(std::vector<fs::path>{scratch / "s.shard"});
  auto const result = evaluate(run.model, *validation_windows(stream, run.model, {}), *tokenizer, {});
  CHECK(result->tokens == 9);
  CHECK(result->topk->capacity[0] == 2.0 / 9);  // K = floor(9 / 4)
  EvalMode const mode(run.model);
  std::vector<int64_t> ids(10);
  stream.copy(0, ids);
  at::Tensor const all = at::tensor(ids);
  for (Routing const routing : {Routing::topk, Routing::causal}) {
    ModelOutput const output = run.model.forward({all.narrow(0, 0, 9).view({1, 9}), {}, {}}, routing, {});
    double const loss = run.model.loss_sum(output, all.narrow(0, 1, 9)).item<double>() / 9;
    CHECK((routing == Routing::topk ? result->topk : result->causal)->loss == Catch::Approx(loss).epsilon(1e-6));
  }
}

TEST_CASE("a dense model has one loss under both names") {
  SmallText const text;
  SmallRun run{DepthConfig{}};
  auto const result = evaluate(run.model, *validation_windows(*text.stream, run.model, {}), *text.tokenizer, {});
  CHECK(result->causal->loss == result->topk->loss);
  CHECK(result->causal->capacity.empty());
  EvalSettings settings;
  settings.routing = EvalRouting::causal;
  CHECK_FALSE(evaluate(run.model, *validation_windows(*text.stream, run.model, settings), *text.tokenizer, settings)->topk);
}

TEST_CASE("micro-batches are chosen from the configuration and the kind of device") {
  Config config;
  auto const tokens = [&](int64_t batch, int64_t context, int64_t asked, bool gpu = false) {
    config.train.batch_tokens = batch;
    config.model.context = context;
    config.train.micro_batch_tokens = asked;
    return micro_batch_sequences(config, gpu) * context;
  };
  CHECK(tokens(1024, 128, 0) == 1024);
  CHECK(tokens(65536, 512, 0) == 4096);
  CHECK(tokens(131072, 512, 0, /*gpu=*/true) == 65536);
  CHECK(tokens(3 * 2048, 512, 0) == 3072);  // divides the batch
  CHECK(tokens(65536, 8192, 0) == 8192);    // one sequence at least
  CHECK(tokens(65536, 512, 1024) == 1024);
  CHECK_THROWS_AS(tokens(1000, 128, 0), Error);
}
