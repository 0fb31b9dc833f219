// Learned factors on the output of layers: every kind of factor, before and after hardening, compared with a slow masked reference.

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "model/depth/scaled/fold.h"
#include "model/depth/scaled/module.h"
#include "model/ledger/ledger.h"
#include "tests/torch/reference.h"
#include "trainer/train/step.h"

using namespace isobath;
using namespace isobath::test;

namespace {

struct ScaledChoice {
  char const *scale, *skipped_kv;
  bool by_depth, hard;  // depth.mean_depth or depth.skip_below
  std::string label() const {
    return std::string(scale) + " " + skipped_kv + (by_depth ? " mean_depth" : " skip_below") + (hard ? " hardened" : "");
  }
  bool by_token() const { return scale == std::string("token"); }
};

std::vector<ScaledChoice> scaled_choices() {
  std::vector<ScaledChoice> all;
  for (bool by_depth : {true, false})
    for (bool hard : {false, true}) {
      for (char const* scale : {"layer", "channel", "token"}) all.push_back({scale, "drop", by_depth, hard});
      all.push_back({"token", "keep", by_depth, hard});
    }
  return all;
}

Shape scaled_shape(ScaledChoice const& c) {
  Shape shape = tiny_shape();
  shape.model.layers = 5;
  shape.depth = {};
  shape.depth.kind = "scaled";
  shape.depth.scale = c.scale;
  shape.depth.scale_init = c.by_token() ? 0.6 : 0.8;
  shape.depth.skipped_kv = c.skipped_kv;
  shape.depth.mean_depth = c.by_depth ? 3 : 0;
  shape.depth.skip_below = c.by_depth ? 0 : c.by_token() ? 0.6 : 0.85;
  shape.depth.scale_weight = 0.7;
  return shape;
}

std::string layer_name(int64_t layer) { return "model.layers." + std::to_string(layer) + "."; }

bool is_hard(LanguageModel const& model) { return dynamic_cast<ScaledModule const&>(model.depth()).is_hard(); }

// Token factors that differ, with a threshold among them; hardened where that is asked for.
std::shared_ptr<LanguageModel> scaled_model(ScaledChoice const& c) {
  auto model = make_model(scaled_shape(c));
  at::NoGradGuard no_grad;
  for (auto const& stored : model->stored())
    if (stored.name.ends_with("scale.weight")) at::Tensor(stored.tensor).mul_(4);
  if (c.by_token() && c.by_depth) stored_tensor(*model, "model.depth_scale.threshold")[0].fill_(0.6);
  if (c.hard) model->harden();
  return model;
}

struct ScaledReference : Reference {
  using Reference::Reference;
  struct Result {
    at::Tensor x_BTD, cost;
    std::vector<at::Tensor> executed_BT;
  };
  Result run(at::Tensor const& tokens_BT, std::vector<at::Tensor> const& replay_BT = {}) const {
    int64_t const B = tokens_BT.size(0), T = tokens_BT.size(1);
    bool const hard = w.at("model.depth_scale.hardened").item<double>() != 0, by_token = depth.scale.name() == "token";
    Result result;
    at::Tensor x = at::embedding(w.at("model.embed_tokens.weight"), tokens_BT), sum = at::zeros({}, at::kDouble);
    at::Tensor const everyone = at::ones({B, T}, at::kBool);
    ModelInput const input{tokens_BT, {}, {}};
    for (int64_t i = 0; i < model.layers; ++i) {
      std::string const layer = layer_name(i);
      at::Tensor factor, ran = everyone;
      if (by_token) {
        at::Tensor const unit = x / (x.pow(2).mean(-1, true) + 1e-6).sqrt();
        at::Tensor const logit = unit.matmul(w.at(layer + "scale.weight")) + w.at(layer + "scale.bias");
        factor = (1 / (1 + (-logit).exp())).unsqueeze(2);
        double const least =
            w.at("model.depth_scale.threshold")[0].item<double>() + (training ? 0 : w.at("model.depth_scale.cut").item<double>());
        if (hard) ran = replay_BT.empty() ? factor.detach().squeeze(2).gt(least) : replay_BT[result.executed_BT.size()];
      } else {
        factor = w.at(layer + "scale.factor");
        if (hard && factor.abs().sum().item<double>() == 0) ran = everyone.logical_not();
      }
      sum = sum + factor.abs().mean();
      at::Tensor const present = depth.skipped_kv.name() == "keep" ? everyone : ran;
      at::Tensor const h = x + factor * attention(layer, x, input, present);
      x = at::where(ran.unsqueeze(2), h + factor * mlp(layer, h), x);
      result.executed_BT.push_back(ran);
    }
    result.x_BTD = norm(x, w.at("model.norm.weight"));
    // By tokens the step before says whether factors are too large in the mean; a fresh model's are.
    at::Tensor const above = by_token ? sum - depth.mean_depth : (sum - depth.mean_depth).clamp_min(0);
    result.cost = hard ? at::zeros({}, at::kDouble) : above * (0.7 / static_cast<double>(model.layers));
    return result;
  }
};

at::Tensor loss_and_cost(LanguageModel& model, at::Tensor const& tokens, at::Tensor const& targets) {
  ModelOutput output = model.forward({tokens, {}, {}}, Routing::topk, {});
  at::Tensor const loss = model.training_loss_sum(output, targets);
  return output.gate_loss.defined() ? loss + 3 * output.gate_loss : loss;
}

}  // namespace

TEST_CASE("scaled: agreement with the slow masked model, forward and backward", "[scaled]") {
  at::Tensor const tokens = random_tokens(2, 16, 11), targets = random_tokens(2, 16, 11, 6);
  for (ScaledChoice const& c : scaled_choices()) {
    INFO(c.label());
    auto model = scaled_model(c);
    ScaledReference const reference(*model);
    auto const expected = reference.run(tokens);
    {
      at::NoGradGuard no_grad;
      ModelOutput const output = model->forward({tokens, {}, {}}, Routing::topk, {});
      int64_t rows = 0;
      REQUIRE(output.routed_layers.size() == 5);
      for (size_t layer = 0; layer < 5; ++layer) {
        CHECK(output.routed_layers[layer].executed_BT.equal(expected.executed_BT[layer]));
        rows += output.routing_NC[static_cast<int64_t>(layer)][routing_rows].item<int64_t>();
      }
      CHECK(output.depth_BT.sum().item<int64_t>() == rows);
      CHECK((rows < 160) == c.hard);
      CHECK(output.gate_loss.defined() == !c.hard);
    }
    at::Tensor const loss = loss_and_cost(*model, tokens, targets);
    at::Tensor const expected_loss = reference.loss_sum({expected.x_BTD, {}, {}, {}, {}, {}}, targets) + 3 * expected.cost;
    CHECK(largest_relative_difference(loss, expected_loss) < 1e-10);
    loss.backward();
    expected_loss.backward();
    for (auto const& [name, gradient] : stored_gradients(*model)) {
      INFO(name);
      at::Tensor const g = reference.w.at(name).grad();
      // A layer that is gone learns nothing; the masked model's factor of 0 still has a slope.
      std::string const factor = name.substr(0, name.find('.', 13) + 1) + "scale.factor";
      bool const gone =
          c.hard && !c.by_token() && name.starts_with("model.layers.") && reference.w.at(factor).abs().sum().item<double>() == 0;
      if (gone)
        CHECK(gradient.abs().max().item<double>() == 0);
      else
        CHECK(largest_relative_difference(gradient, g.defined() ? g : at::zeros_like(gradient)) < 1e-8);
    }
  }
}

TEST_CASE("scaled: replayed decisions run, as in the slow masked model; whole layers are none", "[scaled]") {
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (ScaledChoice const& c : scaled_choices()) {
    INFO(c.label());
    auto model = scaled_model(c);
    std::vector<at::Tensor> masks;
    for (uint64_t layer = 0; layer < 5; ++layer) masks.push_back(normal_tensor({2, 16}, 30 + layer).gt(0));
    ModelOutput const output = model->forward({tokens, {}, {}, nullptr, {}, masks}, Routing::causal, {});
    auto const expected = ScaledReference(*model).run(tokens, masks);
    CHECK(largest_relative_difference(output.x_ND, expected.x_BTD.flatten(0, 1)) < 1e-10);
    for (size_t layer = 0; layer < 5; ++layer) {
      CHECK(output.routed_layers[layer].executed_BT.equal(expected.executed_BT[layer]));
      CHECK(output.routed_layers[layer].executed_BT.equal(masks[layer]) == (c.hard && c.by_token()));
    }
  }
}

TEST_CASE("scaled: gradients agree with finite differences", "[scaled]") {
  at::Tensor const tokens = random_tokens(2, 16, 11), targets = random_tokens(2, 16, 11, 6);
  for (ScaledChoice const& c : scaled_choices()) {
    INFO(c.label());
    auto model = scaled_model(c);
    double const threshold = stored_tensor(*model, "model.depth_scale.threshold")[0].item<double>();
    auto const loss = [&] {
      {
        at::NoGradGuard no_grad;  // a training forward moves it
        stored_tensor(*model, "model.depth_scale.threshold")[0].fill_(threshold);
      }
      at::AutoGradMode const grad(true);
      return loss_and_cost(*model, tokens, targets);
    };
    bool const whole_layers = c.hard && !c.by_token();
    for (char const* part : {"layers.0.", "layers.4.", "scale."}) {
      INFO(part);
      auto const moves = [&](std::string const& name) {
        if (!is_trained(name) || name.find(part) == std::string::npos) return false;
        if (!whole_layers || !name.starts_with("model.layers.")) return true;  // a layer that is gone is no function to differentiate
        return stored_tensor(*model, name.substr(0, name.find('.', 13) + 1) + "scale.factor").ne(0).any().item<bool>();
      };
      auto const stored = model->stored();
      if (std::any_of(stored.begin(), stored.end(), [&](auto const& one) { return moves(one.name); })) check_direction(*model, loss, moves);
    }
  }
}

TEST_CASE("scaled: the future changes nothing", "[scaled]") {
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (ScaledChoice const& c : scaled_choices()) {
    INFO(c.label());
    auto model = scaled_model(c);
    model->eval();
    auto const run = [&](at::Tensor const& t) { return model->forward({t, {}, {}}, Routing::causal, {}); };
    ModelOutput const before = run(tokens);
    for (int64_t changed : {1, 9, 15}) {
      at::Tensor const other = tokens.clone();
      other.slice(1, changed) = (other.slice(1, changed) + 1 + at::arange(16 - changed)) % 11;
      ModelOutput const after = run(other);
      auto const first = [&](ModelOutput const& output) { return output.x_ND.view({2, 16, 8}).slice(1, 0, changed); };
      CHECK(largest_relative_difference(first(after), first(before)) < 1e-12);
      CHECK(after.depth_BT.slice(1, 0, changed).equal(before.depth_BT.slice(1, 0, changed)));
    }
  }
}

TEST_CASE("scaled: hardening keeps the layers with the largest factors, once and for all", "[scaled]") {
  for (char const* scale : {"layer", "channel"}) {
    for (bool by_depth : {true, false}) {
      INFO(scale << by_depth);
      auto model = make_model(scaled_shape({scale, "drop", by_depth, false}));
      std::vector<double> const strengths{0.9, -1.4, 0.2, 1.1, -0.3};
      {
        at::NoGradGuard no_grad;
        for (int64_t i = 0; i < 5; ++i) stored_tensor(*model, layer_name(i) + "scale.factor").fill_(strengths[static_cast<size_t>(i)]);
      }
      CHECK_FALSE(is_hard(*model));
      CHECK(model->harden());
      CHECK_FALSE(model->harden());
      CHECK(is_hard(*model));
      for (int64_t i = 0; i < 5; ++i) {
        double const now = stored_tensor(*model, layer_name(i) + "scale.factor").mean().item<double>();
        bool const stays = i != 2 && i != 4;  // of both kinds: three layers; at least 0.85
        CHECK(now == Catch::Approx(stays ? strengths[static_cast<size_t>(i)] : 0));
      }
      // It trains on: what is gone stays gone, the others move.
      Optimizers optimizers = make_optimizers(*model, {});
      at::Tensor const tokens = random_tokens(2, 16, 11);
      for (int step = 0; step < 3; ++step) {
        optimizers.language_model.zero_grad();
        loss_and_cost(*model, tokens, tokens).backward();
        optimizers.language_model.step(1e-2);
      }
      for (int64_t i = 0; i < 5; ++i) {
        double const now = stored_tensor(*model, layer_name(i) + "scale.factor").mean().item<double>();
        if (i == 2 || i == 4)
          CHECK(now == 0);
        else
          CHECK(std::abs(now - strengths[static_cast<size_t>(i)]) > 1e-4);
      }
    }
  }
  // One layer is left of those that are all too small.
  auto model = make_model(scaled_shape({"layer", "drop", false, false}));
  at::NoGradGuard no_grad;
  for (int64_t i = 0; i < 5; ++i) stored_tensor(*model, layer_name(i) + "scale.factor").fill_(i == 3 ? -0.2 : 0.1);
  model->harden();
  for (int64_t i = 0; i < 5; ++i)
    CHECK(stored_tensor(*model, layer_name(i) + "scale.factor").item<double>() == Catch::Approx(i == 3 ? -0.2 : 0));

  // Factors whose sum is below the mean depth cost nothing: depth is never rewarded.
  model = make_model(scaled_shape({"layer", "drop", true, false}));
  for (double const factor : {0.5, 0.7}) {
    for (int64_t i = 0; i < 5; ++i) stored_tensor(*model, layer_name(i) + "scale.factor").fill_(factor);
    double const cost = model->forward({random_tokens(2, 16, 11), {}, {}}, Routing::topk, {}).gate_loss.item<double>();
    CHECK(cost == Catch::Approx(factor == 0.5 ? 0 : 0.7 * (3.5 - 3) / 5));
  }
}

TEST_CASE("scaled: factors of one are the dense model, tokens below every threshold go nowhere", "[scaled]") {
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (ScaledChoice const& c : scaled_choices()) {
    INFO(c.label());
    auto model = make_model(scaled_shape(c));
    for (int64_t i = 0; i < 5; ++i) {
      if (!c.by_token()) stored_tensor(*model, layer_name(i) + "scale.factor").fill_(1);
      if (c.by_token()) stored_tensor(*model, layer_name(i) + "scale.bias").fill_(60);
    }
    Shape dense = scaled_shape(c);
    dense.depth = {};
    auto alone = make_model(dense);
    for (auto const& stored : alone->stored()) at::Tensor(stored.tensor).copy_(stored_tensor(*model, stored.name));
    if (c.hard && !c.by_token()) continue;  // two of them would go
    if (c.hard) model->harden();
    at::Tensor const x = model->forward({tokens, {}, {}}, Routing::causal, {}).x_ND;
    CHECK(largest_relative_difference(x, alone->forward({tokens, {}, {}}, Routing::topk, {}).x_ND) < 1e-12);
    if (!c.hard) continue;
    stored_tensor(*model, "model.depth_scale.threshold")[0].fill_(2);
    ModelOutput const nothing = model->forward({tokens, {}, {}}, Routing::causal, {});
    CHECK(nothing.depth_BT.eq(0).all().item<bool>());
    CHECK(nothing.routing_NC.abs().sum().item<int64_t>() == 0);
  }
}

TEST_CASE("scaled: calibration reaches the mean depth, training follows it", "[scaled]") {
  at::Tensor const tokens = random_tokens(40, 16, 11);
  for (char const* skipped_kv : {"drop", "keep"}) {
    auto model = scaled_model({"token", skipped_kv, true, true});
    stored_tensor(*model, "model.depth_scale.threshold")[0].fill_(0.75);
    auto const mean = [&](Routing routing) {
      at::NoGradGuard no_grad;
      return model->forward({tokens, {}, {}}, routing, {}).depth_BT.to(at::kDouble).mean().item<double>();
    };
    CHECK(std::abs(mean(Routing::causal) - 3) > 0.1);  // 0.75 is no good threshold
    model->eval();
    model->calibrate({{tokens, {}, {}}}, {});
    CHECK(model->offsets().numel() == 1);
    CHECK(mean(Routing::causal) == Catch::Approx(3).epsilon(0.02));
    model->train();
    CHECK(std::abs(mean(Routing::causal) - 3) > 0.1);  // the cut does not count
    for (int step = 0; step < 120; ++step) finish_step(*model, model->forward({tokens, {}, {}}, Routing::topk, {}));
    CHECK(mean(Routing::causal) == Catch::Approx(3).epsilon(0.05));
    model->set_offsets(at::zeros({1}));
    model->eval();
    CHECK(mean(Routing::causal) == Catch::Approx(3).epsilon(0.05));  // uncalibrated: the running threshold
  }
  CHECK(scaled_model({"layer", "drop", true, true})->offsets().numel() == 0);
  CHECK(scaled_model({"token", "drop", false, true})->offsets().numel() == 0);
}

TEST_CASE("scaled: without its dead layers a model is a dense one with the same logits", "[scaled]") {
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (char const* scale : {"layer", "channel"}) {
    auto model = scaled_model({scale, "drop", true, true});
    DenseModel const dense = fold_factors(*model);
    CHECK(dense.model.layers == 3);
    Shape shape = scaled_shape({scale, "drop", true, true});
    shape.model = dense.model;
    shape.depth = {};
    auto alone = make_model(shape);
    std::filesystem::path const path = std::filesystem::temp_directory_path() / "isobath_test_folded.safetensors";
    write_tensors(path, dense.weights, {});
    import_weights(*alone, stored_weights(path));
    std::filesystem::remove(path);
    auto const logits = [&](LanguageModel& m) { return m.logits(m.forward({tokens, {}, {}}, Routing::causal, {}).x_ND); };
    CHECK(largest_relative_difference(logits(*alone), logits(*model)) < 1e-12);
  }
  CHECK_THROWS_AS(fold_factors(*scaled_model({"layer", "drop", true, false})), Error);
  CHECK_THROWS_AS(fold_factors(*scaled_model({"token", "drop", true, true})), Error);
  CHECK_THROWS_AS(fold_factors(*make_model(tiny_shape())), Error);
}

TEST_CASE("scaled: parameters and rows are what the ledger says", "[scaled]") {
  at::NoGradGuard no_grad;
  for (ScaledChoice const& c : scaled_choices()) {
    INFO(c.label());
    Shape const shape = scaled_shape(c);
    auto model = scaled_model(c);
    int64_t all = 0;
    for (auto const& stored : model->stored()) all += is_trained(stored.name) ? stored.tensor.numel() : 0;
    CHECK(count_parameters(shape.model, shape.depth, shape.vocab).total == all);
    if (!c.hard || c.by_token() || !c.by_depth) continue;
    // Whole layers: what is planned is what runs, to the last pair.
    ModelOutput const output = model->forward({random_tokens(2, 16, 11), {}, {}}, Routing::topk, {});
    std::vector<RoutedWork> work;
    for (int64_t i = 0; i < 5; ++i)
      work.push_back({output.routing_NC[i][routing_rows].item<int64_t>(), output.routing_NC[i][routing_pairs].item<int64_t>()});
    Ledger const ledger = make_ledger(shape.model, shape.depth, shape.vocab);
    CHECK(ledger.forward(2, 16, work) == planned_forward_flops(shape.model, shape.depth, shape.vocab, 2, 16));
    Shape three = shape;
    three.model.layers = 3;
    CHECK(ledger.forward(2, 16, work) == planned_forward_flops(three.model, DepthConfig{}, shape.vocab, 2, 16));
    CHECK(kv_bytes_per_token(shape.model, shape.depth) == kv_bytes_per_token(three.model, DepthConfig{}));
  }
}
