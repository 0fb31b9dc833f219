// Replayed decisions: which tokens run is given, and the model still reports its own decisions and their distances from the threshold.

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "core/error.h"
#include "tests/torch/nested_reference.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

struct ReplayKind {
  std::string label;
  Shape shape;
};

std::vector<ReplayKind> replay_kinds() {
  std::vector<ReplayKind> all;
  for (char const* causal : {"bce", "predictor", "none"})
    for (char const* target : {"block", "attention", "mlp"})
      for (char const* kv : {"drop", "keep"}) {
        if (target == std::string("mlp") && kv == std::string("keep")) continue;
        Shape shape = tiny_shape();
        shape.depth.causal = causal;
        shape.depth.target = target;
        shape.depth.skipped_kv = kv;
        shape.depth.skip_path = causal == std::string("bce") ? "linear" : "identity";
        all.push_back({std::string(causal) + " " + target + " " + kv, shape});
      }
  Shape deep = tiny_shape();
  deep.model.layers = 5;
  deep.depth = {};
  Shape nested = deep;
  nested.depth.kind = "nested";
  nested.depth.exits = {2, 3};
  nested.depth.decide_after = 1;
  nested.depth.exit_norms = true;
  for (char const* kv : {"drop", "keep"}) {
    nested.depth.skipped_kv = kv;
    for (char const* training : {"weight", "gumbel", "hindsight"})
      for (char const* choice : {"token", "sequence"}) {
        Shape one = nested;
        one.depth.choice = choice;
        one.depth.prefix = choice == std::string("sequence") ? 3 : 0;
        one.depth.gate_training = training;
        all.push_back({std::string("nested ") + choice + " " + training + " " + kv, one});
      }
    Shape expert = nested;
    expert.depth.decide_after = 0;
    expert.depth.choice = "expert";
    expert.depth.causal = "bce";
    all.push_back({std::string("nested expert ") + kv, expert});
  }
  Shape scaled = deep;
  scaled.depth.kind = "scaled";
  scaled.depth.scale = "token";
  scaled.depth.scale_init = 0.6;
  scaled.depth.mean_depth = 3;
  all.push_back({"scaled token", scaled});
  return all;
}

at::Tensor replay_tokens() { return random_tokens(2, 16, 11); }

std::shared_ptr<LanguageModel> replay_model(Shape const& shape) {
  auto model = make_model(shape);
  at::NoGradGuard const no_grad;
  for (auto const& stored : model->stored())
    if (stored.name.ends_with("scale.weight")) at::Tensor(stored.tensor).mul_(4);
  model->harden();
  model->eval();
  model->calibrate({{replay_tokens(), {}, {}}}, {});
  return model;
}

ModelOutput causal_pass(LanguageModel& model, std::vector<at::Tensor> const& replay_BT = {}) {
  return model.forward({replay_tokens(), {}, {}, nullptr, {}, replay_BT}, Routing::causal, {});
}

// Any tokens in any layer; of a nested model those whose branch, drawn for each token, is behind the exit.
std::vector<at::Tensor> random_masks(DepthConfig const& depth, size_t layers, at::Tensor const& branch_BT) {
  std::vector<at::Tensor> masks;
  for (size_t i = 0; i < layers; ++i)
    masks.push_back(depth.kind == "nested" ? branch_BT.gt(i == 0 ? 0 : 1) : normal_tensor(branch_BT.sizes(), 40 + i).gt(0));
  return masks;
}

}  // namespace

TEST_CASE("replay: given decisions run, as in the slow masked model, and the model's own stay to be seen", "[replay]") {
  at::NoGradGuard const no_grad;
  at::Tensor const tokens_BT = replay_tokens();
  at::Tensor const branch_BT = random_tokens(2, 16, 3, 8);
  for (ReplayKind const& kind : replay_kinds()) {
    INFO(kind.label);
    auto const model = replay_model(kind.shape);
    ModelOutput const own = causal_pass(*model);
    size_t const layers = own.routed_layers.size();
    std::vector<at::Tensor> same;
    for (RoutedLayer const& layer : own.routed_layers) same.push_back(layer.executed_BT);
    CHECK(causal_pass(*model, same).x_ND.equal(own.x_ND));

    std::vector<at::Tensor> const masks = random_masks(kind.shape.depth, layers, branch_BT);
    ModelOutput const replayed = causal_pass(*model, masks);
    at::Tensor depth_BT = at::full_like(tokens_BT, kind.shape.model.layers - static_cast<int64_t>(layers));
    for (size_t i = 0; i < layers; ++i) {
      CHECK(replayed.routed_layers[i].executed_BT.equal(masks[i]));
      depth_BT += masks[i];
    }
    CHECK(replayed.depth_BT.equal(depth_BT));
    RoutedLayer const &mine = own.routed_layers[0], &beside = replayed.routed_layers[0];
    CHECK(!beside.executed_BT.equal(mine.executed_BT));
    CHECK(beside.causal_BT.equal(mine.causal_BT));
    CHECK(beside.topk_BT.equal(mine.topk_BT));
    CHECK(beside.margin_BT.equal(mine.margin_BT));
    CHECK(replayed.routing_NC[0][routing_causal].item<int64_t>() == mine.causal_BT.sum().item<int64_t>());
    CHECK(replayed.routing_NC[0][routing_rows].item<int64_t>() == masks[0].sum().item<int64_t>());

    at::Tensor expected_BTD;
    if (kind.shape.depth.kind == "mod") expected_BTD = Reference(*model).forward(tokens_BT, Routing::topk, {}, masks).x_BTD;
    if (kind.shape.depth.choice.name() == "expert")
      expected_BTD = NestedReference(*model).run({tokens_BT, {}, {}, nullptr, {}, masks}, Routing::causal, {}).x_BTD;
    else if (kind.shape.depth.kind == "nested")
      expected_BTD = NestedReference(*model).run(tokens_BT, branch_BT, false).x_BTD;
    if (expected_BTD.defined()) CHECK(largest_relative_difference(replayed.x_ND, expected_BTD.flatten(0, 1)) < 1e-10);
  }
}

TEST_CASE("replay: nobody and everybody are what cuts without end give", "[replay]") {
  at::NoGradGuard const no_grad;
  at::Tensor const tokens_BT = replay_tokens();
  for (ReplayKind const& kind : replay_kinds()) {
    INFO(kind.label);
    auto const model = replay_model(kind.shape);
    if (kind.shape.depth.kind == "nested" && kind.shape.depth.choice.name() != "expert") continue;
    at::Tensor const cuts_N = model->offsets();
    for (bool const everybody : {false, true}) {
      model->set_offsets(cuts_N);
      std::vector<at::Tensor> const masks(causal_pass(*model).routed_layers.size(), at::full_like(tokens_BT, everybody, at::kBool));
      at::Tensor const replayed_ND = causal_pass(*model, masks).x_ND;
      model->set_offsets(at::full_like(cuts_N, everybody ? -1e9 : 1e9));
      CHECK(replayed_ND.equal(causal_pass(*model).x_ND));
    }
  }
}

TEST_CASE("replay: what does not fit is refused", "[replay]") {
  at::NoGradGuard const no_grad;
  at::Tensor const tokens_BT = replay_tokens();
  auto const model = replay_model(tiny_shape());
  at::Tensor const mask_BT = at::ones_like(tokens_BT, at::kBool);
  auto const refused = [&](std::vector<at::Tensor> const& replay_BT, Routing routing, std::string const& word) {
    try {
      model->forward({tokens_BT, {}, {}, nullptr, {}, replay_BT}, routing, {});
      FAIL("not refused: " << word);
    } catch (Error const& error) {
      CHECK(error.code() == ExitCode::other);
      CHECK(error.what() == "[replay] " + word);
    }
  };
  refused({mask_BT}, Routing::causal, "decisions of 1 layers given, the model has 2 routed layers");
  refused({mask_BT, mask_BT.narrow(1, 0, 15)}, Routing::causal, "decisions of routed layer 1 are Bool[2, 15], not Bool[2, 16]");
  refused({tokens_BT, mask_BT}, Routing::causal, "decisions of routed layer 0 are Long[2, 16], not Bool[2, 16]");
  refused({mask_BT, mask_BT}, Routing::topk, "decisions are replayed under causal routing alone");
}

TEST_CASE("replay: a margin is how far a decision is from falling the other way", "[replay]") {
  at::NoGradGuard const no_grad;
  for (ReplayKind const& kind : replay_kinds()) {
    INFO(kind.label);
    DepthConfig const& depth = kind.shape.depth;
    auto const model = replay_model(kind.shape);
    bool const by_network = depth.kind == "nested" && depth.choice.name() != "expert";
    at::Tensor const cuts_N = model->offsets();
    at::Tensor bias_B;
    for (auto const& stored : model->stored())
      if (stored.name == "model.depth_gate.bias") bias_B = stored.tensor;
    // Makes it harder to go through routed layer `layer`, the only one in front of its exit.
    auto const raise = [&](int64_t layer, double by) {
      if (by_network) {
        bias_B.slice(0, layer + 1).sub_(by);
      } else {
        at::Tensor const raised_N = model->offsets();
        raised_N[std::min(layer, raised_N.numel() - 1)].add_(by);
        model->set_offsets(raised_N);
      }
    };
    int64_t yes = 0, no = 0;
    for (int64_t layer : {0, 1}) {
      if (depth.kind == "scaled" && layer == 1) break;  // one cut for all layers
      RoutedLayer const own = causal_pass(*model).routed_layers[static_cast<size_t>(layer)];
      for (int64_t t = 5; t < 16; t += depth.kind == "scaled" ? 1 : 2) {
        bool const decided = own.causal_BT[1][t].item<bool>();
        double const margin = own.margin_BT[1][t].item<double>();
        if (std::isinf(margin)) continue;
        (decided ? yes : no) += 1;
        for (double const part : {1 - 1e-6, 1 + 1e-6}) {
          double const by = (decided ? margin : -margin) * part;
          raise(layer, by);
          bool const now = causal_pass(*model).routed_layers[static_cast<size_t>(layer)].causal_BT[1][t].item<bool>();
          raise(layer, -by);
          CHECK((now != decided) == (part > 1));
        }
      }
    }
    CHECK(yes + no >= 6);
    if (depth.choice.name() != "sequence") CHECK((yes > 0 && no > 0));
    if (depth.choice.name() == "sequence")
      for (RoutedLayer const& layer : causal_pass(*model).routed_layers)
        CHECK(layer.margin_BT.isinf().equal(at::arange(16).lt(3).expand({2, 16})));
    if (depth.choice.name() == "expert") {
      auto const layers = causal_pass(*model).routed_layers;
      CHECK(layers[1].margin_BT.isinf().equal(layers[0].executed_BT.logical_not()));
    }
  }
}

TEST_CASE("replay: where nothing is decided there is no margin", "[replay]") {
  at::NoGradGuard const no_grad;
  auto const margins = [](LanguageModel& model) {
    int64_t defined = 0;
    for (RoutedLayer const& layer : causal_pass(model).routed_layers) defined += layer.margin_BT.defined();
    return defined;
  };
  Shape shape = tiny_shape();
  auto const mod = replay_model(shape);
  CHECK(margins(*mod) == 2);
  mod->set_capacities({1, 0.5});
  CHECK(margins(*mod) == 1);
  shape.depth.router = "random";
  shape.depth.causal = "none";
  CHECK(margins(*replay_model(shape)) == 0);
  for (ReplayKind kind : replay_kinds()) {
    DepthConfig& depth = kind.shape.depth;
    if (kind.label == "nested token weight drop") {
      auto const model = replay_model(kind.shape);
      CHECK(margins(*model) == 3);
      model->force_branch(1);
      CHECK(margins(*model) == 0);
      depth.router = "random";
      CHECK(margins(*replay_model(kind.shape)) == 0);
    }
    if (depth.kind == "scaled") {
      CHECK(margins(*replay_model(kind.shape)) == 5);
      CHECK(margins(*make_model(kind.shape)) == 0);  // not hardened
      depth.scale = "layer";
      CHECK(margins(*replay_model(kind.shape)) == 0);
    }
  }
}
