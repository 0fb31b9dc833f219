// Branches of different depth: which keys can be combined, and what is planned for them.

#include <catch2/catch_approx.hpp>
#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "model/depth/nested/plan.h"
#include "model/depth/plan.h"
#include "model/ledger/ledger.h"
#include "model/ledger/router_cost.h"
#include "tests/fast/config_folder.h"
#include "trainer/schedule/schedule.h"

using namespace isobath;

namespace {

// Of a nested model of six layers.
std::vector<std::string> problems_of(std::string const& depth, std::string const& more = "") {
  ConfigFolder const folder;
  return folder.problems("model: {layers: 6}\ndepth: {kind: nested, " + depth + "}\n" + more);
}

void refused_nested(std::string const& depth, std::string const& word, std::string const& more = "") {
  INFO(depth);
  auto const found = problems_of(depth, more);
  REQUIRE(found.size() == 1);
  INFO(found[0]);
  CHECK(found[0].find(word) != std::string::npos);
}

Config nested(std::string const& depth) {
  ConfigFolder const folder;
  return folder.load("model: {layers: 6}\ndepth: {kind: nested, " + depth + "}\n").config;
}

}  // namespace

TEST_CASE("nested: keys that make no sense are refused, with the reason") {
  refused_nested("choice: token", "needs depth.exits");
  refused_nested("exits: [4, 2]", "ascend");
  refused_nested("exits: [2, 2]", "ascend");
  refused_nested("exits: [2, 6]", "before the last");
  refused_nested("exits: [2, 4], decide_after: 3", "past the first exit");
  refused_nested("exits: [2], router: norm", "linear, mlp or random");
  refused_nested("exits: [2], router: random, gate_training: gumbel", "learns nothing");
  refused_nested("exits: [2], router: random, balance: loss", "learns nothing");
  refused_nested("exits: [2], prefix: 3", "sequence");
  refused_nested("exits: [2], choice: sequence, prefix: 128", "leaves nothing");
  refused_nested("exits: [2], choice: sequence", "isolate_documents", "data: {isolate_documents: true}\n");
  refused_nested("exits: [2], choice: sequence", "data.tasks", "data: {tasks: [a.yaml]}\n");
  refused_nested("exits: [2], target: mlp", "target");
  refused_nested("exits: [2], skip_path: linear", "skip path");
  refused_nested("exits: [2, 4], mean_depth: 2", "between the first exit");
  refused_nested("exits: [2, 4], mean_depth: 6", "between the first exit");
  refused_nested("exits: [2], capacity_warmup: 10%", "choice: expert");
  refused_nested("exits: [2], choice: expert, causal: threshold, threshold_training: true, capacity_warmup: 10%", "does not select by it");
  refused_nested("exits: [2], capacity_random: [10%, 20%]", "mean_depth");
  refused_nested("exits: [2], choice: expert, gate_training: gumbel", "depth.gate_training is the depth network's");
  refused_nested("exits: [2], choice: expert, balance: bias", "depth.balance is the depth network's");
  refused_nested("exits: [2], choice: expert, decide_after: 1", "depth.decide_after is the depth network's");
  refused_nested("exits: [2], choice: expert, price_rate: 0.1", "depth.price_rate is the depth network's");
  refused_nested("exits: [2], choice: expert, prefix: 3", "sequence");
  refused_nested("exits: [2], choice: expert, router: random, gate: none", "write `causal: none`");
  refused_nested("exits: [2], choice: expert, gate: none", "only `causal: bce`");
  refused_nested("exits: [2], choice: expert, threshold_training: true", "causal: threshold");
  refused_nested("exits: [2], recursion: true", "but one");
  refused_nested("exits: [1, 2, 4], recursion: true", "they have 1, 2, 2 layers");
  refused_nested("exits: [1, 4], recursion: true", "they have 3, 2 layers");
  CHECK(problems_of("exits: [1, 2, 5], mean_depth: 3.5, choice: sequence, gate_training: hindsight, skipped_kv: keep").empty());
  CHECK(problems_of("exits: [2], router: random, mean_depth: 3").empty());
  CHECK(problems_of("exits: [2, 4], recursion: true, exit_norms: true, gate_training: hindsight").empty());
  CHECK(problems_of("exits: [2, 4], recursion: true, choice: expert, router: norm, gate: none, causal: threshold, threshold_training: true",
                    "data: {isolate_documents: true}\n")
            .empty());
  CHECK(problems_of("exits: [2], choice: expert, router: random, causal: none, mean_depth: 3").empty());
}

TEST_CASE("nested: what is not given follows from the rest") {
  Config const config = nested("exits: [2, 4]");
  CHECK(resolved_decide_after(config.depth) == 2);
  CHECK(resolved_prefix(config.model, config.depth) == 16);
  CHECK(NestedPlan(config.model, config.depth).branch_depths() == std::vector<int64_t>{2, 4, 6});
  for (double const share : NestedPlan(config.model, config.depth).branch_shares()) CHECK(share == Catch::Approx(1.0 / 3));
}

TEST_CASE("nested: planned shares have the mean depth that is asked for, and layers what follows from them") {
  for (double const mean_depth : {2.05, 3.0, 4.0, 5.9}) {
    Config const config = nested("exits: [2, 4], mean_depth: " + std::to_string(mean_depth));
    auto const shares = NestedPlan(config.model, config.depth).branch_shares();
    CHECK(2 * shares[0] + 4 * shares[1] + 6 * shares[2] == Catch::Approx(mean_depth));
    CHECK(plan_depth(config.model, config.depth)->mean_depth() == Catch::Approx(mean_depth));
    auto const layers = plan_depth(config.model, config.depth)->capacities();
    REQUIRE(layers.size() == 4);
    CHECK(layers[0] == Catch::Approx(shares[1] + shares[2]));
    CHECK(layers[1] == layers[0]);
    CHECK(layers[2] == Catch::Approx(shares[2]));
    double depth = 2;
    for (double const share : layers) depth += share;
    CHECK(depth == Catch::Approx(mean_depth));
  }
  Config const by_network = nested("exits: [2]");
  CHECK_FALSE(plan_depth(by_network.model, by_network.depth)->uses_noncausal_routing());
}

TEST_CASE("nested: expert choice has a router an exit, which looks ahead") {
  Config const config = nested("exits: [2, 3, 5], choice: expert, mean_depth: 3.5");
  CHECK(plan_depth(config.model, config.depth)->uses_noncausal_routing());
  CHECK(has_predictor(config.depth));
  CHECK_FALSE(plan_depth(config.model, config.depth)->capacity_changes());
  Ledger const ledger = make_ledger(config.model, config.depth, 512);
  CHECK(ledger.routers == 3);
  CHECK(ledger.routed_layers == 4);
  auto const layers = plan_depth(config.model, config.depth)->capacities();
  for (size_t i = 1; i < layers.size(); ++i) CHECK(layers[i] <= layers[i - 1]);
  Config token = config;
  token.depth.choice = "token";
  int64_t const T = config.model.context;
  CHECK(planned_forward_flops(config.model, config.depth, 512, 1, T) - planned_forward_flops(config.model, token.depth, 512, 1, T) ==
        T * (3 * (ledger.router_row + ledger.predictor_row) - make_ledger(config.model, token.depth, 512).gate_row));
}

TEST_CASE("nested: recursion uses the first stack's layers again") {
  Config const config = nested("exits: [2, 4], recursion: true"), five = nested("exits: [2, 3, 4, 5], recursion: true");
  std::vector<int64_t> weights;
  for (int64_t layer = 0; layer < 6; ++layer) weights.push_back(plan_depth(config.model, config.depth)->layer_of_weights(layer));
  CHECK(weights == std::vector<int64_t>{0, 1, 2, 3, 2, 3});
  weights.clear();
  for (int64_t layer = 0; layer < 6; ++layer) weights.push_back(plan_depth(five.model, five.depth)->layer_of_weights(layer));
  CHECK(weights == std::vector<int64_t>{0, 1, 2, 2, 2, 2});
}

TEST_CASE("scaled: keys that make no sense are refused, with the reason") {
  auto const problems = [](std::string const& depth) {
    ConfigFolder const folder;
    return folder.problems("model: {layers: 6}\ndepth: {kind: scaled, " + depth + "}\n");
  };
  auto const refused = [&](std::string const& depth, std::string const& word) {
    INFO(depth);
    auto const found = problems(depth);
    REQUIRE(found.size() == 1);
    INFO(found[0]);
    CHECK(found[0].find(word) != std::string::npos);
  };
  refused("scale: layer", "one of the two");
  refused("mean_depth: 4, skip_below: 0.5", "one of the two");
  refused("mean_depth: 6", "less than model.layers");
  refused("mean_depth: 3.5", "whole number");
  refused("mean_depth: 3.5, scale: channel", "whole number");
  refused("mean_depth: 4, scale: token, scale_init: 1", "sigmoid");
  refused("mean_depth: 4, harden_after: 0%", "within the run");
  refused("mean_depth: 4, harden_after: 100%", "within the run");
  refused("mean_depth: 4, target: mlp", "target");
  refused("mean_depth: 4, skip_path: linear", "skip path");
  refused("mean_depth: 4, skipped_kv: keep", "scale: token");
  refused("mean_depth: 4, capacity_warmup: 10%", "no capacity");
  CHECK(problems("mean_depth: 3.5, scale: token, skipped_kv: keep").empty());
  CHECK(problems("skip_below: 0.2, scale: channel, scale_init: 0").empty());
}

TEST_CASE("scaled: all layers run at first, then as many as are asked for") {
  auto const scaled = [](std::string const& depth) {
    ConfigFolder const folder;
    return folder.load("model: {layers: 6}\ntrain: {budget: 2e12flop}\ndepth: {kind: scaled, " + depth + "}\n").config;
  };
  std::vector<double> const all(6, 1);
  Config const layers = scaled("mean_depth: 4, harden_after: 30%"), tokens = scaled("mean_depth: 4.5, scale: token"),
               below = scaled("skip_below: 0.3");
  CHECK(plan_depth(layers.model, layers.depth)->step_capacities(1, 5, 0.29) == all);
  CHECK(plan_depth(layers.model, layers.depth)->step_capacities(1, 5, 0.3) == std::vector<double>{1, 1, 1, 1, 0, 0});
  CHECK(plan_depth(tokens.model, tokens.depth)->step_capacities(1, 5, 0.49) == all);
  CHECK(plan_depth(tokens.model, tokens.depth)->step_capacities(1, 5, 0.5) == std::vector<double>(6, 0.75));
  CHECK(plan_depth(below.model, below.depth)->capacities() == all);
  CHECK(plan_depth(layers.model, layers.depth)->most_capacities() == all);
  CHECK(rows_of_capacity(0, 128) == 0);

  // The steps of the two parts of a run add up to the budget.
  Schedule const schedule = make_schedule(layers, 512, 100);
  int64_t flops = 0, step = 0, cheap = 0;
  while (!schedule.finished(step, flops)) {
    int64_t const cost = schedule.step_flops(step, flops);
    bool const hard = schedule.progress(step, flops) >= 0.3;
    Config plain = layers;
    plain.depth = {};
    plain.model.layers = hard ? 4 : 6;
    CHECK(cost ==
          planned_train_flops(plain.model, plain.depth, 512, layers.train.batch_tokens / layers.model.context, layers.model.context));
    cheap += hard;
    flops += cost;
    ++step;
  }
  CHECK(step == schedule.total_steps());
  CHECK(cheap > step / 2);
  CHECK(std::abs(static_cast<double>(flops) - 2e12) < 0.5 * static_cast<double>(schedule.step_flops(step, flops)) + 1);
}
