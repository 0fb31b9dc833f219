// What every router must pass, with every gate, causal decision, target, skip path, per-layer capacities and isolated documents: agreement
// with the slow masked reference, finite differences, causality, independent sequences and documents, extremes, ties. Each router meets
// each value of each setting, and each value of a setting each value of another (a test below says so), not every combination of all of
// them. One added row runs all of it for a new router.

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>
#include <functional>
#include <tuple>

#include "config/io.h"
#include "config/sections/routers.h"
#include "core/error.h"
#include "model/ledger/ledger.h"
#include "model/ledger/router_cost.h"
#include "tests/torch/pairs.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

struct RouterRow {
  char const *name, *router, *input;
  bool learns;         // has parameters: gates and bce train them
  bool predictable;    // a predictor can learn its choice, a threshold separate it
  bool detaches;       // its score is no constant, yet carries no gradient
  bool knows_batch;    // its score depends on where in the batch a token stands
  int64_t parameters;  // of one layer of tiny_shape()
  int64_t flops;       // of one token there
};
constexpr RouterRow router_rows[] = {
    {"linear", "linear", "raw", true, true, false, false, 8, 2 * 8},
    {"linear normalised", "linear", "normalised", true, true, false, false, 8, 2 * 8},
    {"mlp", "mlp", "raw", true, true, false, false, 8 * 5 + 5, 2 * (8 * 5 + 5)},
    {"mlp normalised", "mlp", "normalised", true, true, false, false, 8 * 5 + 5, 2 * (8 * 5 + 5)},
    {"cosine", "cosine", "raw", true, true, false, false, 8, 2 * 8},
    {"position", "position", "raw", true, true, false, false, 16, 0},
    {"token", "token", "raw", true, true, false, false, 11, 0},
    {"norm", "norm", "raw", false, true, true, false, 0, 0},
    {"random", "random", "raw", false, false, false, true, 0, 0},
};

constexpr char const *every_gate[] = {"raw", "sigmoid", "sigmoid2", "tanh", "none"},
                     *every_causal[] = {"none", "bce", "predictor", "threshold"};

struct Combination {
  RouterRow row;
  std::string gate, causal;
  bool bce_detach;
  double z_loss_weight = 0;
  std::string target = "block", skip_path = "identity", skipped_kv = "drop";
  std::vector<double> capacity{0.25};
  bool documents = false;

  std::string label() const {
    return std::string(row.name) + " gate=" + gate + " causal=" + causal + (bce_detach ? " detached" : "") + " " + target + " " +
           skip_path + " " + skipped_kv + (capacity.size() > 1 ? " capacities" : "") + (documents ? " documents" : "");
  }
};

bool allowed(Combination const& c) {
  if (c.causal == "bce") return c.row.learns;
  if (c.bce_detach || (c.causal != "none" && !c.row.predictable)) return false;
  return c.gate != "none" || !c.row.learns;
}

// Of router, gate and causal decision: what a configuration allows, or what it does not.
std::vector<Combination> combinations(bool as_allowed = true) {
  std::vector<Combination> found;
  for (RouterRow const& row : router_rows)
    for (std::string const gate : every_gate)
      for (std::string const causal : every_causal)
        for (bool const detach : {false, true}) {
          Combination c{row, gate, causal, detach};
          if (row.learns && (gate == "sigmoid" || gate == "none")) c.z_loss_weight = 0.2;
          if (allowed(c) == as_allowed) found.push_back(c);
        }
  return found;
}

// Target, skip path, skipped_kv.
constexpr std::tuple<char const*, char const*, char const*> every_path[] = {
    {"block", "identity", "drop"},     {"attention", "identity", "drop"}, {"mlp", "identity", "drop"}, {"block", "linear", "drop"},
    {"block", "identity", "keep"},     {"attention", "linear", "drop"},   {"mlp", "linear", "drop"},   {"block", "low_rank", "drop"},
    {"attention", "identity", "keep"}, {"attention", "low_rank", "drop"}, {"mlp", "low_rank", "drop"}, {"attention", "low_rank", "keep"}};

// Every router on every path; gates, causal decisions, documents and capacities take turns, at different paces.
std::vector<Combination> paired_combinations() {
  std::vector<Combination> found, ungated;
  size_t row = 0;
  auto const add = [&](Combination c, size_t path) {
    std::tie(c.target, c.skip_path, c.skipped_kv) = every_path[path];
    c.documents = (row + path / 2) % 2 == 0;
    if ((row + path) % 3 == 0) c.capacity = {0.5, 0.1875};
    found.push_back(c);
  };
  for (RouterRow const& router : router_rows) {
    std::vector<Combination> of_router;  // a gate after another, each with every causal decision
    for (Combination const& c : combinations())
      if (c.row.name == router.name) (router.learns && c.gate == "none" ? ungated : of_router).push_back(c);
    size_t const gates = router.learns ? 4 : 5, decisions = of_router.size() / gates;
    for (size_t path = 0; path < std::size(every_path); ++path)
      add(of_router.at((row + path) % gates * decisions + (row + 2 * path + path / 5) % decisions), path);
    ++row;
  }
  for (size_t path = 0; path < std::size(every_path); ++path) add(ungated.at(3 * path % ungated.size()), path);
  return found;
}

Shape shape_of(Combination const& c) {
  Shape shape = tiny_shape();
  shape.depth.router = c.row.router;
  shape.depth.router_input = c.row.input;
  shape.depth.gate = c.gate;
  shape.depth.gate_alpha = c.gate == "sigmoid" ? 1.7 : 1;
  shape.depth.target = c.target;
  shape.depth.skip_path = c.skip_path;
  shape.depth.capacity = c.capacity;
  shape.depth.skipped_kv = c.skipped_kv;
  shape.depth.skip_rank = c.skip_path == "low_rank" ? 3 : 0;
  shape.depth.causal = c.causal;
  shape.depth.bce_detach = c.bce_detach;
  shape.depth.z_loss_weight = c.z_loss_weight;
  return shape;
}

constexpr NoiseKey some_noise{5, 6};

// With the combination's documents: other ones in every sequence.
ModelInput input_of(Combination const& c, at::Tensor const& tokens_BT) {
  ModelInput input{tokens_BT.clone(), {}, {}};
  if (!c.documents) return input;
  int64_t const B = tokens_BT.size(0), T = tokens_BT.size(1);
  input.segments_BT = at::zeros({B, T}, at::kLong);
  input.positions_BT = at::arange(T).expand({B, T}).contiguous();
  for (int64_t b = 0; b < B; ++b)
    for (int64_t const begin : {5 - b, 7 + 2 * b}) {
      input.segments_BT[b].slice(0, begin).add_(1);
      input.positions_BT[b].slice(0, begin).copy_(at::arange(T - begin));
      at::Tensor const first = input.tokens_BT[b][begin], second = input.tokens_BT[b][begin + 1];  // see random_tokens
      second.copy_(at::where(first.eq(second), (second + 1) % 11, second));
    }
  return input;
}

// Thresholds amid the scores and predictors without a bias, so that causal decisions go both ways.
void balance(LanguageModel& model, ModelInput const& input) {
  at::NoGradGuard no_grad;
  auto const scores = Reference(model).forward(input, Routing::topk, some_noise).score_BT;
  size_t layer = 0;
  for (auto const& stored : model.stored()) {
    if (stored.name.ends_with("threshold")) at::Tensor(stored.tensor).select(0, 0).fill_(scores.at(layer++).mean().item<double>());
    if (stored.name.ends_with("predictor.down.bias")) at::Tensor(stored.tensor).zero_();
  }
}

bool of_predictor(std::string const& name) { return name.find(".predictor.") != std::string::npos; }
bool of_router(std::string const& name) { return name.find(".router.") != std::string::npos && is_trained(name); }
bool of_trunk(std::string const& name) { return !of_predictor(name) && name.find(".router.") == std::string::npos; }

}  // namespace

TEST_CASE("a configuration may ask for exactly these combinations", "[routers]") {
  auto const check = [](Combination const& c, bool fine) {
    Shape const shape = shape_of(c);
    Config config;
    config.model = shape.model;
    config.depth = shape.depth;
    INFO(c.label());
    if (fine)
      CHECK_NOTHROW(check_config(config));
    else
      CHECK_THROWS_AS(check_config(config), ConfigError);
  };
  for (Combination const& c : combinations()) check(c, true);
  for (Combination const& c : paired_combinations()) check(c, true);
  for (Combination const& c : combinations(false)) check(c, false);
}

TEST_CASE("the routers are tested in every pair of settings", "[routers]") {
  auto const settings = [](std::vector<Combination> const& combinations) {
    std::vector<std::vector<std::string>> rows;
    for (Combination const& c : combinations)
      rows.push_back({c.row.name, c.gate, c.causal + (c.bce_detach ? " detached" : ""), c.target + c.skip_path + c.skipped_kv,
                      c.documents ? "documents" : "", c.capacity.size() > 1 ? "capacities" : ""});
    return rows;
  };
  auto const tested = settings(paired_combinations()), all = settings(combinations());
  for (size_t a = 0; a < 6; ++a)
    for (size_t b = a + 1; b < 6; ++b) {
      INFO(a << " with " << b);
      if (b < 3)
        CHECK(pairs(tested, a, b) == pairs(all, a, b));
      else
        CHECK(has_every_pair(tested, a, b));
    }
}

TEST_CASE("every router agrees with the slow masked reference, forward and backward", "[routers]") {
  auto const routing = GENERATE(Routing::topk, Routing::causal);
  at::Tensor const tokens = random_tokens(2, 16, 11), targets = random_tokens(2, 16, 11, 6);
  targets[1][3] = -100;
  auto const total = [](at::Tensor loss, auto const& output) {
    if (output.router_loss.defined()) loss = loss + 0.3 * output.router_loss;
    if (output.predictor_loss.defined()) loss = loss + 0.7 * output.predictor_loss;
    if (output.z_loss.defined()) loss = loss + 0.2 * output.z_loss;
    return loss;
  };
  for (Combination const& c : paired_combinations()) {
    INFO(c.label() << (routing == Routing::topk ? " topk" : " causal"));
    auto model = make_model(shape_of(c));
    balance(*model, input_of(c, tokens));
    Reference const reference(*model);
    ModelOutput const output = model->forward(input_of(c, tokens), routing, some_noise);
    auto const expected = reference.forward(input_of(c, tokens), routing, some_noise);
    at::Tensor const loss = total(model->loss_sum(output, targets), output);
    at::Tensor const expected_loss = total(reference.loss_sum(expected, targets), expected);
    CHECK(largest_relative_difference(output.x_ND, expected.x_BTD.flatten(0, 1)) < 1e-10);
    CHECK(output.router_loss.defined() == (c.causal == "bce"));
    CHECK(output.predictor_loss.defined() == (c.causal == "predictor"));
    CHECK(output.z_loss.defined() == (c.z_loss_weight > 0));
    CHECK(largest_relative_difference(loss, expected_loss) < 1e-10);
    loss.backward();
    expected_loss.backward();
    for (auto const& [name, gradient] : stored_gradients(*model)) {
      INFO(name);
      at::Tensor const g = reference.w.at(name).grad();
      CHECK(largest_relative_difference(gradient, g.defined() ? g : at::zeros_like(gradient)) < 1e-8);
    }
  }
}

TEST_CASE("gradients of every router agree with finite differences", "[routers]") {
  at::Tensor const tokens = random_tokens(2, 16, 11), targets = random_tokens(2, 16, 11, 6);
  for (Combination const& c : paired_combinations()) {
    INFO(c.label());
    auto model = make_model(shape_of(c));
    auto const loss = [&](bool with_bce) {
      ModelOutput const output = model->forward(input_of(c, tokens), Routing::topk, some_noise);
      at::Tensor sum = model->loss_sum(output, targets);
      if (with_bce && output.router_loss.defined()) sum = sum + 5 * output.router_loss;
      if (output.z_loss.defined()) sum = sum + 3 * output.z_loss;
      return sum;
    };
    // Where a gradient stops on purpose, a difference sees more than it: then only what does not move the input of a later score.
    auto const in_last_layer = [&](std::string const& name) {
      // A routed MLP scores what its block's attention has changed.
      bool const before =
          c.target == "mlp" && (name.find("self_attn") != std::string::npos || name.find("input_layernorm") != std::string::npos);
      return (name.starts_with("model.layers.2.") && !before) || name == "model.norm.weight";
    };
    bool const cut = c.row.detaches && c.gate != "none";
    check_direction(
        *model, [&] { return loss(!c.bce_detach); }, [&](auto const& name) { return of_trunk(name) && (!cut || in_last_layer(name)); });
    if (c.row.learns) {
      check_direction(
          *model, [&] { return loss(true); }, [&](auto const& name) { return of_router(name) && (!c.bce_detach || in_last_layer(name)); });
    }
    if (c.causal == "predictor") {
      check_direction(
          *model, [&] { return 5 * model->forward(input_of(c, tokens), Routing::topk, some_noise).predictor_loss; }, of_predictor);
    }
  }
}

TEST_CASE("with every router, future tokens never change a causal output", "[routers]") {
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (Combination const& c : paired_combinations()) {
    INFO(c.label());
    auto model = make_model(shape_of(c));
    balance(*model, input_of(c, tokens));
    auto const run = [&](at::Tensor const& t) { return model->forward(input_of(c, t), Routing::causal, some_noise).x_ND.view({2, 16, 8}); };
    at::Tensor const before = run(tokens);
    for (int64_t changed : {1, 6, 15}) {
      at::Tensor const other = tokens.clone();
      other.slice(1, changed) = (other.slice(1, changed) + 1 + at::arange(16 - changed)) % 11;
      at::Tensor const after = run(other);
      CHECK(largest_relative_difference(after.slice(1, 0, changed), before.slice(1, 0, changed)) < 1e-12);
      CHECK(largest_relative_difference(after.slice(1, changed), before.slice(1, changed)) > 1e-6);
    }
  }
}

TEST_CASE("with every router, one sequence never changes another", "[routers]") {
  auto const routing = GENERATE(Routing::topk, Routing::causal);
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(3, 16, 11);
  for (Combination const& c : paired_combinations()) {
    INFO(c.label() << (routing == Routing::topk ? " topk" : " causal"));
    auto model = make_model(shape_of(c));
    balance(*model, input_of(c, tokens));
    auto const run = [&](at::Tensor const& t) { return model->forward(input_of(c, t), routing, some_noise).x_ND.view({-1, 16, 8}); };
    at::Tensor const together = run(tokens);
    for (int64_t b : {1, 2}) {
      at::Tensor const others = (tokens + 3) % 11;
      others[b] = tokens[b];
      CHECK(largest_relative_difference(run(others)[b], together[b]) < 1e-12);
      if (!c.row.knows_batch && !c.documents) CHECK(largest_relative_difference(run(tokens.narrow(0, b, 1))[0], together[b]) < 1e-12);
    }
  }
}

TEST_CASE("with every router, one isolated document never changes another", "[routers]") {
  auto const routing = GENERATE(Routing::topk, Routing::causal);
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (Combination const& c : paired_combinations()) {
    if (!c.documents) continue;
    INFO(c.label() << (routing == Routing::topk ? " topk" : " causal"));
    auto model = make_model(shape_of(c));
    balance(*model, input_of(c, tokens));
    ModelInput const before = input_of(c, tokens);
    at::Tensor const x_BTD = model->forward(before, routing, some_noise).x_ND.view({2, 16, 8});
    for (int64_t document : {0, 1, 2}) {
      at::Tensor const changed_BT = before.segments_BT.eq(document);
      ModelInput after = before;
      after.tokens_BT = at::where(changed_BT, (before.tokens_BT + 1 + at::arange(16)) % 11, before.tokens_BT);
      at::Tensor const difference_BT = (model->forward(after, routing, some_noise).x_ND.view({2, 16, 8}) - x_BTD).abs().amax(2);
      CHECK(difference_BT.masked_select(changed_BT.logical_not()).max().item<double>() < 1e-12);
      CHECK(difference_BT.masked_select(changed_BT).max().item<double>() > 1e-6);
    }
  }
}

TEST_CASE("every router at its extremes: one token of a sequence, all tokens", "[routers]") {
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (Combination const& c : paired_combinations()) {
    for (double const capacity : {0.001, 1.0}) {
      INFO(c.label() << " capacity=" << capacity);
      Shape shape = shape_of(c);
      shape.depth.capacity = {capacity};
      auto model = make_model(shape);
      ModelOutput const output = model->forward(input_of(c, tokens), Routing::topk, some_noise);
      auto const expected = Reference(*model).forward(input_of(c, tokens), Routing::topk, some_noise);
      CHECK(largest_relative_difference(output.x_ND, expected.x_BTD.flatten(0, 1)) < 1e-10);
      CHECK(output.routing_NC.select(1, routing_rows).eq(capacity < 1 ? 2 : 2 * 16).all().item<bool>());
      if (capacity < 1 || c.gate != "none") continue;

      shape.depth.kind = "dense";  // with K = T and g = 1 the routed model is the dense one
      auto dense = make_model(shape);
      std::map<std::string, at::Tensor> from;
      for (auto const& stored : model->stored()) from[stored.name] = stored.tensor;
      for (auto const& stored : dense->stored()) at::Tensor(stored.tensor).copy_(from.at(stored.name));
      CHECK(largest_relative_difference(output.x_ND, dense->forward(input_of(c, tokens), Routing::topk, {}).x_ND) < 1e-12);
    }
  }
}

TEST_CASE("with every learned router, equal scores go to the lower position", "[routers]") {
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (Combination const& c : paired_combinations()) {
    if (!c.row.learns) continue;
    INFO(c.label());
    auto model = make_model(shape_of(c));
    bool const table = c.row.router == std::string("position") || c.row.router == std::string("token");
    for (auto const& stored : model->stored())
      if (of_router(stored.name)) at::Tensor(stored.tensor).fill_(table ? 0.3 : 0);
    at::Tensor blocks = at::ones({16}, at::kLong);
    for (double const share : {c.capacity.front(), c.capacity.back()}) blocks = blocks + at::arange(16).lt(16 * share);
    CHECK(model->forward({tokens, {}, {}}, Routing::topk, some_noise).depth_BT.equal(blocks.expand({2, 16})));
  }
}

TEST_CASE("the ledger and the stored tensors know every router", "[routers]") {
  for (Combination const& c : paired_combinations()) {
    INFO(c.label());
    Shape const shape = shape_of(c);
    auto model = make_model(shape);
    int64_t routers = 0, predictors = 0, all = 0;
    for (auto const& stored : model->stored()) {
      if (is_trained(stored.name)) all += stored.tensor.numel();
      if (of_router(stored.name)) routers += stored.tensor.numel();
      if (of_predictor(stored.name)) predictors += stored.tensor.numel();
    }
    Parameters const count = count_parameters(shape.model, shape.depth, shape.vocab);
    Ledger const ledger = make_ledger(shape.model, shape.depth, shape.vocab);
    CHECK(count.total == all);
    CHECK(routers == 2 * c.row.parameters);
    CHECK(count.routers == routers);
    CHECK(count.predictors == predictors);
    CHECK(ledger.router_row == c.row.flops);
    CHECK(router_kind(shape.depth.router).learned() == c.row.learns);
    CHECK(has_predictor(shape.depth) == (c.causal == "predictor"));
  }
}
