// The routed block in models of the common shapes: agreement with a slow masked reference, statistics, causality, extremes, finite
// differences. test_routers.cpp holds the tests that every router must pass.

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>
#include <limits>

#include "model/block.h"
#include "model/ledger/ledger.h"
#include "nn/ops/ops.h"
#include "nn/router/router.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

// One row of the table: what a config line can choose.
struct RoutingCase {
  char const *kind, *gate, *causal;
  double capacity;
};

std::string label(RoutingCase const& c) {
  return std::string(c.kind) + " gate=" + c.gate + " causal=" + c.causal + " capacity=" + std::to_string(c.capacity);
}

Shape shape_of(RoutingCase const& choice) {
  Shape shape = small_shape(choice.kind);
  shape.depth.gate = choice.gate;
  shape.depth.causal = choice.causal;
  shape.depth.capacity = {choice.capacity};
  return shape;
}

auto all_choices() {
  return GENERATE(values<RoutingCase>({{"dense", "raw", "none", 1},
                                       {"mod", "raw", "predictor", 0.25},
                                       {"mod", "raw", "none", 0.25},
                                       {"mod", "sigmoid", "bce", 0.25},
                                       {"mod", "sigmoid2", "predictor", 0.5},
                                       {"mod", "tanh", "bce", 0.125},
                                       {"mod", "none", "bce", 0.25},
                                       {"mod", "raw", "predictor", 0.001},  // K = 1
                                       {"mod", "sigmoid", "bce", 1.0}}));   // K = T
}

// A threshold in the middle of the scores, so that `causal: none` decides something.
void set_thresholds(LanguageModel& model) {
  at::NoGradGuard no_grad;
  for (auto const& stored : model.stored())
    if (stored.name.ends_with("threshold")) at::Tensor(stored.tensor).select(0, 0).fill_(0.1);
}

}  // namespace

TEST_CASE("model agrees with the slow masked reference, forward and backward", "[routing]") {
  RoutingCase const choice = all_choices();
  auto const routing = GENERATE(Routing::topk, Routing::causal);
  INFO(label(choice) << (routing == Routing::topk ? " topk" : " causal"));
  Shape const shape = shape_of(choice);
  auto model = make_model(shape);
  set_thresholds(*model);
  Reference const reference(*model);
  at::Tensor const tokens = random_tokens(3, 24, shape.vocab), targets = random_tokens(3, 24, shape.vocab, 6);
  targets[1][3] = -100;

  auto const total = [&](at::Tensor loss, at::Tensor const& router, at::Tensor const& predictor) {
    if (router.defined()) loss = loss + 0.3 * router;
    if (predictor.defined()) loss = loss + 0.7 * predictor;
    return loss;
  };
  ModelOutput const output = model->forward({tokens, {}, {}}, routing, {});
  at::Tensor const loss = total(model->loss_sum(output, targets), output.router_loss, output.predictor_loss);
  auto const expected = reference.forward(tokens, routing);
  at::Tensor const expected_loss = total(reference.loss_sum(expected, targets), expected.router_loss, expected.predictor_loss);
  CHECK(largest_relative_difference(output.x_ND, expected.x_BTD.flatten(0, 1)) < 1e-10);
  CHECK(largest_relative_difference(loss, expected_loss) < 1e-10);
  CHECK(output.router_loss.defined() == expected.router_loss.defined());
  CHECK(output.predictor_loss.defined() == expected.predictor_loss.defined());

  loss.backward();
  expected_loss.backward();
  for (auto const& [name, gradient] : stored_gradients(*model)) {
    INFO(name);
    at::Tensor const g = reference.w.at(name).grad();
    CHECK(largest_relative_difference(gradient, g.defined() ? g : at::zeros_like(gradient)) < 1e-8);
  }
}

TEST_CASE("statistics count what ran, what was decided and what top-k picked", "[routing]") {
  RoutingCase const choice = all_choices();
  auto const routing = GENERATE(Routing::topk, Routing::causal);
  if (std::string(choice.kind) == "dense") return;
  INFO(label(choice));
  Shape const shape = shape_of(choice);
  auto model = make_model(shape);
  set_thresholds(*model);
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(3, 24, shape.vocab);
  ModelOutput const output = model->forward({tokens, {}, {}}, routing, {});
  auto const expected = Reference(*model).forward(tokens, routing);
  auto const picks = Reference(*model).forward(tokens, routing == Routing::topk ? Routing::topk : Routing::causal);
  int64_t const K = rows_of_capacity(choice.capacity, 24);
  at::Tensor depth = at::full({3, 24}, 2, at::kLong);
  for (size_t i = 0; i < expected.executed_BT.size(); ++i) {
    at::Tensor const row = output.routing_NC[static_cast<int64_t>(i)];
    at::Tensor const ran_B = expected.executed_BT[i].sum(1);
    CHECK(row[routing_rows].item<int64_t>() == ran_B.sum().item<int64_t>());
    CHECK(row[routing_pairs].item<int64_t>() == (ran_B * (ran_B + 1) / 2).sum().item<int64_t>());
    CHECK(row[routing_topk].item<int64_t>() == 3 * K);
    CHECK(row[routing_both].item<int64_t>() <= std::min(row[routing_causal].item<int64_t>(), 3 * K));
    depth += expected.executed_BT[i];
  }
  CHECK(output.depth_BT.equal(depth));
}

TEST_CASE("future tokens never change a causal output", "[routing]") {
  RoutingCase const choice = all_choices();
  INFO(label(choice));
  Shape const shape = shape_of(choice);
  auto model = make_model(shape);
  set_thresholds(*model);
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 24, shape.vocab);
  auto const run = [&](at::Tensor const& t) { return model->forward({t, {}, {}}, Routing::causal, {}).x_ND.view({2, 24, -1}); };
  at::Tensor const before = run(tokens);
  for (int64_t changed : {1, 7, 15, 23}) {
    at::Tensor const other = tokens.clone();
    other.slice(1, changed) = (other.slice(1, changed) + 1 + at::arange(24 - changed)) % shape.vocab;
    CHECK(largest_relative_difference(run(other).slice(1, 0, changed), before.slice(1, 0, changed)) < 1e-12);
    CHECK(largest_relative_difference(run(other).slice(1, changed), before.slice(1, changed)) > 1e-6);
  }
}

TEST_CASE("one sequence never changes another", "[routing]") {
  RoutingCase const choice = all_choices();
  auto const routing = GENERATE(Routing::topk, Routing::causal);
  INFO(label(choice));
  Shape const shape = shape_of(choice);
  auto model = make_model(shape);
  set_thresholds(*model);
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(4, 24, shape.vocab);
  at::Tensor const together = model->forward({tokens, {}, {}}, routing, {}).x_ND.view({4, 24, -1});
  for (int64_t b = 0; b < 4; ++b) {
    at::Tensor const alone = model->forward({tokens.narrow(0, b, 1), {}, {}}, routing, {}).x_ND;
    CHECK(largest_relative_difference(alone, together[b]) < 1e-12);
  }
}

TEST_CASE("gradients agree with finite differences in fp64", "[routing]") {
  RoutingCase const choice = all_choices();
  INFO(label(choice));
  Shape const shape = shape_of(choice);
  auto model = make_model(shape);
  at::Tensor const tokens = random_tokens(2, 16, shape.vocab), targets = random_tokens(2, 16, shape.vocab, 6);
  auto const loss = [&] {
    ModelOutput const output = model->forward({tokens, {}, {}}, Routing::topk, {});
    at::Tensor sum = model->loss_sum(output, targets);
    if (output.router_loss.defined()) sum = sum + 5 * output.router_loss;
    return sum;
  };
  loss().backward();
  auto const gradients = stored_gradients(*model);
  uint64_t draw = 0;
  for (auto const& stored : model->stored()) {
    if (!is_trained(stored.name) || stored.name.find(".predictor.") != std::string::npos) continue;  // has its own loss
    INFO(stored.name);
    at::Tensor const parameter = stored.tensor, gradient = gradients.at(stored.name).reshape({-1});
    int64_t const at_index = static_cast<int64_t>((++draw * 2654435761u) % static_cast<uint64_t>(parameter.numel()));
    at::Tensor step = at::zeros(parameter.numel(), parameter.options());
    step[at_index] = 1e-5;
    step = step.view_as(parameter);
    at::NoGradGuard no_grad;
    at::Tensor const start = parameter.clone();
    parameter.copy_(start + step);
    double const up = loss().item<double>();
    parameter.copy_(start - step);
    double const down = loss().item<double>();
    parameter.copy_(start);
    double const numeric = (up - down) / 2e-5;
    double const analytic = gradient[at_index].item<double>();
    CHECK(std::abs(numeric - analytic) <= 1e-6 * std::max(1.0, std::abs(analytic)));
  }
}

TEST_CASE("top_k is sorted, breaks ties to the lower position and carries the batch offset", "[routing]") {
  at::Tensor const scores = at::tensor(std::vector<float>{1, 2, 2, 0, 2, 2, /**/ 5, 5, 5, 5, 5, 5, /**/ 0, 1, 2, 3, 4, 5}).view({3, 6});
  CHECK(ops::top_k(scores, 3).equal(at::tensor({1, 2, 4, 6, 7, 8, 15, 16, 17}, at::kLong)));
  CHECK(ops::top_k(scores, 1).equal(at::tensor({1, 6, 17}, at::kLong)));
  CHECK(ops::top_k(scores, 6).equal(at::arange(18, at::kLong)));
}

TEST_CASE("routed rows keep their original positions", "[routing]") {
  // Moving the same rows to other positions must change what attention sees; keeping distances must not.
  Shape const shape = small_shape();
  auto model = make_model(shape);
  BlockImpl block(shape.model);
  block.to(at::kDouble);
  at::NoGradGuard no_grad;
  for (auto const& parameter : block.parameters())
    parameter.copy_(at::sin(at::arange(parameter.numel(), parameter.options())).view_as(parameter));
  auto const [cos, sin] = ops::rotary_tables(64, 4, 10000, at::TensorOptions().dtype(at::kDouble));
  at::Tensor const x = at::cos(at::arange(3 * 16, at::kDouble)).view({3, 16});
  auto const run = [&](std::vector<int64_t> const& positions) {
    Rows rows{1, 3, 3, at::tensor(positions), {}, {}};
    return block.forward(x, rows, {cos, sin}) - x;
  };
  at::Tensor const base = run({2, 9, 17});
  CHECK(largest_relative_difference(run({12, 19, 27}), base) < 1e-10);  // rotary attention depends on distances
  CHECK(largest_relative_difference(run({0, 1, 2}), base) > 1e-4);      // ... and really on the original ones
}

TEST_CASE("with K = T and g = 1 a routed model is the dense model", "[routing]") {
  // The residual is added once, not twice.
  Shape routed = small_shape(), dense = small_shape("dense");
  routed.depth.capacity = {1};
  routed.depth.gate = "none";
  routed.depth.causal = "none";
  auto a = make_model(routed), b = make_model(dense);
  at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> from;
  for (auto const& stored : b->stored()) from[stored.name] = stored.tensor;
  for (auto const& stored : a->stored())
    if (from.contains(stored.name)) at::Tensor(stored.tensor).copy_(from[stored.name]);
  at::Tensor const tokens = random_tokens(2, 24, routed.vocab);
  CHECK(largest_relative_difference(a->forward({tokens, {}, {}}, Routing::topk, {}).x_ND,
                                    b->forward({tokens, {}, {}}, Routing::topk, {}).x_ND) < 1e-12);
}

TEST_CASE("a skipped token leaves a routed block as it came", "[routing]") {
  Shape shape = small_shape();
  shape.model.layers = 1;
  shape.depth.offset = 0;
  shape.depth.capacity = {0.25};
  auto model = make_model(shape);
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 24, shape.vocab);
  ModelOutput const output = model->forward({tokens, {}, {}}, Routing::topk, {});
  Reference const reference(*model);
  at::Tensor const x = reference.w.at("model.embed_tokens.weight").detach().index_select(0, tokens.view({-1}));
  at::Tensor const untouched = x / (x.pow(2).mean(-1, true) + shape.model.norm_eps).sqrt() * reference.w.at("model.norm.weight").detach();
  at::Tensor const skipped = output.depth_BT.view({-1}).eq(0);
  CHECK(skipped.sum().item<int64_t>() == 2 * 18);
  CHECK(largest_relative_difference(output.x_ND.index({skipped}), untouched.index({skipped})) < 1e-12);
  CHECK(largest_relative_difference(output.x_ND.index({skipped.logical_not()}), untouched.index({skipped.logical_not()})) > 1e-3);
}

TEST_CASE("the gradient reaches the router through the gate", "[routing]") {
  auto const gate = GENERATE("raw", "sigmoid", "sigmoid2", "tanh");
  Shape shape = small_shape();
  shape.depth.gate = gate;
  auto model = make_model(shape);
  at::Tensor const tokens = random_tokens(2, 24, shape.vocab);
  model->loss_sum(model->forward({tokens, {}, {}}, Routing::topk, {}), tokens).backward();
  auto const gradients = stored_gradients(*model);
  for (auto const* layer : {"model.layers.1.", "model.layers.3."})
    CHECK(gradients.at(std::string(layer) + "router.weight").abs().max().item<double>() > 1e-6);
}

TEST_CASE("the predictor's loss touches predictor parameters only", "[routing]") {
  Shape const shape = small_shape();
  auto model = make_model(shape);
  ModelOutput const output = model->forward({random_tokens(2, 24, shape.vocab), {}, {}}, Routing::topk, {});
  output.predictor_loss.backward();
  size_t predictors = 0;
  for (auto const& parameter : model->trained()) {
    INFO(parameter.name);
    at::Tensor const gradient = parameter.tensor.grad();
    bool const of_predictor = parameter.role == Role::predictor;
    predictors += of_predictor;
    CHECK(gradient.defined() == of_predictor);
    if (of_predictor && gradient.defined()) CHECK(gradient.abs().max().item<double>() > 0);
  }
  CHECK(predictors == 8);
}

TEST_CASE("random routing is a function of its key", "[routing]") {
  Shape shape = small_shape();
  shape.depth.router = "random";
  shape.depth.causal = "none";
  shape.depth.gate = "none";
  auto model = make_model(shape);
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(4, 24, shape.vocab);
  auto const depth = [&](NoiseKey key) { return model->forward({tokens, {}, {}}, Routing::topk, key).depth_BT; };
  CHECK(depth({1, 2, 3}).equal(depth({1, 2, 3})));
  CHECK(!depth({1, 2, 3}).equal(depth({1, 3, 3})));
  CHECK(!depth({1, 2, 3}).equal(depth({1, 2, 4})));
}

TEST_CASE("without a causal decision of its own a router learns a threshold that keeps the capacity", "[routing]") {
  auto const router = GENERATE("linear", "random");
  Shape shape = small_shape();
  shape.depth.router = router;
  shape.depth.gate = "none";
  shape.depth.causal = "none";
  auto model = make_model(shape, at::kFloat);
  for (int64_t step = 0; step < 40; ++step)
    finish_step(*model, model->forward({random_tokens(8, 24, shape.vocab, 100 + step), {}, {}}, Routing::topk, {1, step, 0}));
  at::NoGradGuard no_grad;
  ModelOutput const output = model->forward({random_tokens(64, 24, shape.vocab, 9), {}, {}}, Routing::causal, {2, 0, 0});
  for (int64_t layer = 0; layer < 2; ++layer) {
    double const capacity = output.routing_NC[layer][routing_rows].item<double>() / (64 * 24);
    CHECK(capacity > 0.18);
    CHECK(capacity < 0.32);
  }
}

TEST_CASE("scores that are not finite leave the running threshold alone", "[routing]") {
  Shape shape = small_shape();
  shape.depth.causal = "none";
  RouterImpl router(shape.model, shape.depth, shape.vocab);
  at::Tensor const updated = at::ones({}, at::kBool);
  router.update_threshold(at::arange(8, at::kFloat), 2, updated);
  CHECK(router.threshold.equal(at::tensor({5.5f, 1.0f})));  // between 6 and 7, the two best of eight scores, and the others
  at::Tensor bad = at::zeros({8});
  bad[1] = std::nan("");
  router.update_threshold(bad, 2, updated);
  router.update_threshold(at::full({8}, std::numeric_limits<float>::infinity()), 2, updated);
  router.update_threshold(at::zeros({8}), 2, at::zeros({}, at::kBool));  // nor does a step that updated nothing
  CHECK(router.threshold.equal(at::tensor({5.5f, 1.0f})));
}

TEST_CASE("isolated documents do not see each other", "[routing]") {
  Shape const shape = small_shape("dense");
  auto model = make_model(shape);
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(1, 24, shape.vocab);
  at::Tensor const segments = at::cat({at::zeros({1, 10}, at::kLong), at::ones({1, 14}, at::kLong)}, 1);
  at::Tensor const positions = at::cat({at::arange(10), at::arange(14)}).unsqueeze(0);
  at::Tensor const packed = model->forward({tokens, positions, segments}, Routing::topk, {}).x_ND;
  at::Tensor const first = model->forward({tokens.narrow(1, 0, 10), {}, {}}, Routing::topk, {}).x_ND;
  at::Tensor const second = model->forward({tokens.narrow(1, 10, 14), {}, {}}, Routing::topk, {}).x_ND;
  CHECK(largest_relative_difference(packed, at::cat({first, second})) < 1e-10);
}
