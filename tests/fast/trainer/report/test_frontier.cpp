// Routed arms against the frontier of dense arms, on invented loss surfaces.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/random.h"
#include "tests/fast/report_runs.h"
#include "trainer/report/report.h"

using namespace isobath;
using Catch::Approx;

namespace {

Frontier frontier_of(std::vector<FrontierPoint> points, std::vector<int64_t> seeds) {
  return make_frontier(all_costs().front(), std::move(seeds), std::move(points));
}

FrontierPoint dense(char const* name, double cost, std::vector<double> losses) { return {name, cost, std::move(losses), true, false}; }

json with_cost(double forward_flops) { return {{"forward_flops_per_token_causal", forward_flops}}; }

Pair const* cost_pair(Report const& report, std::string const& arm, std::string const& cost) {
  for (Pair const& pair : report.pairs)
    if (pair.basis == "cost" && pair.arm == arm && pair.cost == cost) return &pair;
  return nullptr;
}

// Three dense arms of 100k, 200k and 400k FLOPs a token and a routed one, two seeds each.
Report experiment(Folder const& root, double routed_cost, double routed_loss, double deepest = 2.8) {
  write_experiment(root.path, {"d1", "d2", "d3", "mod"}, {1, 2}, "d1");
  for (int64_t seed : {1, 2}) {
    double const of_seed = 0.01 * static_cast<double>(seed);
    write_run(root.path, "d1", seed, {.loss = 3.2 + of_seed, .routing = with_cost(1e5)});
    write_run(root.path, "d2", seed, {.loss = 3.0 + of_seed, .routing = with_cost(2e5)});
    write_run(root.path, "d3", seed, {.loss = deepest + of_seed, .routing = with_cost(4e5)});
    write_run(root.path, "mod", seed, {.loss = routed_loss + of_seed, .routed = true, .routing = with_cost(routed_cost)});
  }
  return read_report({root.path});
}

}  // namespace

TEST_CASE("frontier: linear in the logarithm of the cost, seed by seed, and nothing is extrapolated") {
  Frontier const f = frontier_of({dense("d2", 400, {3.0, 3.1}), dense("d1", 100, {3.4, 3.6}), {"mod", 150, {1, 1}, false, false}}, {1, 2});
  CHECK(f.loss_at(0, 100) == Approx(3.4));
  CHECK(*f.loss_at(0, 200) == Approx(3.2));  // half way between 100 and 400
  CHECK(*f.loss_at(1, 200) == Approx(3.35));
  CHECK(*f.loss_at(1, 400) == Approx(3.1));
  CHECK_FALSE(f.loss_at(0, 98));
  CHECK_FALSE(f.loss_at(0, 403));
  CHECK(f.around(200) == "between d1 and d2");
  CHECK(std::isnan(frontier_of({{"mod", 150, {1}, false, false}}, {1}).cheapest()));
}

TEST_CASE("frontier: a dense arm that costs more and loses more is not part of it") {
  Frontier const f = frontier_of({dense("d1", 100, {3.0}), dense("d2", 200, {2.9}), dense("d3", 400, {3.1}), dense("d4", 800, {2.8})}, {1});
  CHECK(*f.loss_at(0, 400) == Approx(2.85));  // half way between d2 and d4
  Frontier const short_of_d4 = frontier_of({dense("d1", 100, {3.0}), dense("d2", 200, {2.9}), dense("d3", 400, {3.1})}, {1});
  CHECK(*short_of_d4.loss_at(0, 300) == Approx(2.9));  // as good a model as d2 may be had for that cost
  CHECK(short_of_d4.around(300) == "where d2 is the best dense arm");
}

TEST_CASE("frontier: a routed arm is held against the dense loss at its own cost") {
  Folder const root;
  SECTION("better") {
    Report const report = experiment(root, std::sqrt(2e5 * 4e5), 2.85);  // the frontier is at 2.9
    Pair const* const pair = cost_pair(report, "mod", "forward_flops");
    REQUIRE(pair);
    CHECK(pair->difference.percent == Approx(100 * (2.85 / 2.9 - 1)).epsilon(0.01));
    CHECK(pair->difference.n == 2);
    CHECK(pair->verdict.starts_with("better by 1.7"));
    CHECK(contains(pair->note, "forward FLOPs a token, between d2 and d3"));
    CHECK(report.pair("mod", "d3", "flops")->difference.percent > 0);  // though the best dense arm is better
    json const written = json::parse(report_json(report).dump());
    json const frontier = written["frontiers"][0];
    CHECK(frontier["cost"] == "forward_flops");
    CHECK(frontier["points"].size() == 4);
    CHECK(frontier["points"][0]["arm"] == "d1");
    CHECK(frontier["points"][0]["on_frontier"] == true);
    CHECK(frontier["points"][2]["arm"] == "mod");
    CHECK(frontier["points"][2]["on_frontier"] == false);
    CHECK(contains(report_table(report), "at equal forward_flops: better by 1.7"));
  }
  SECTION("a dense arm that lacks a seed is left out, and that is said") {
    experiment(root, 2e5, 2.85);
    fs::remove_all(root.path / "d2" / "seed-2");
    Pair const pair = *cost_pair(read_report({root.path}), "mod", "forward_flops");
    CHECK(contains(pair.note, "between d1 and d3; without d2, for lack of some of these seeds"));
    CHECK(pair.difference.n == 2);
  }
  SECTION("only the dense arms around it must have its training FLOPs") {
    experiment(root, 2.8e5, 2.85);
    write_run(root.path, "d1", 1, {.loss = 3.21, .train_flops = 1300000000000, .routing = with_cost(1e5)});
    CHECK(cost_pair(read_report({root.path}), "mod", "forward_flops")->compared());
    write_run(root.path, "d3", 1, {.loss = 2.81, .train_flops = 1300000000000, .routing = with_cost(4e5)});
    CHECK(cost_pair(read_report({root.path}), "mod", "forward_flops")->verdict.starts_with("no verdict: training FLOPs differ by "));
  }
  SECTION("too cheap") {
    Pair const pair = *cost_pair(experiment(root, 5e4, 3), "mod", "forward_flops");
    CHECK_FALSE(pair.compared());
    CHECK(pair.verdict == "no verdict: no dense arm is that cheap; add one");
  }
  SECTION("too costly") { CHECK(contains(cost_pair(experiment(root, 5e5, 3), "mod", "forward_flops")->verdict, "that costly; add one")); }
  SECTION("a cost that was not measured has no pair") { CHECK_FALSE(cost_pair(experiment(root, 2e5, 3), "mod", "decode_time_1")); }
}

TEST_CASE("frontier: measured costs") {
  Folder const root;
  experiment(root, 2e5, 2.9);
  auto const decode = [&](char const* arm, double speed, double kv) {
    json const of = {
        {"batch", 1}, {"prompt", 64}, {"tokens_per_s", speed}, {"prompt_tokens_per_s", 10 * speed}, {"kv_bytes_per_token", kv}};
    write_file_atomic(root.path / arm / "seed-1" / "decode.json", json{{"batches", {of}}}.dump());
  };
  decode("d1", 4000, 1024);
  decode("d2", 2000, 2048);
  decode("d3", 1000, 4096);
  decode("mod", 1000, 2048);
  Report const report = read_report({root.path});
  // It decodes as slowly as d3, which is better, but keeps as much as d2, which is worse.
  CHECK(cost_pair(report, "mod", "decode_time_1")->difference.percent > 2);
  CHECK(cost_pair(report, "mod", "prefill_time")->difference.percent > 2);
  CHECK(cost_pair(report, "mod", "kv_bytes")->difference.percent < -2);
  CHECK_FALSE(cost_pair(report, "mod", "decode_time_16"));
}

TEST_CASE("frontier: with too few dense arms the report says what is missing") {
  Folder const root;
  write_experiment(root.path, {"d1", "mod"}, {1, 2}, "d1");
  for (int64_t seed : {1, 2}) {
    write_run(root.path, "d1", seed, {.routing = with_cost(1e5)});
    write_run(root.path, "mod", seed, {.routed = true, .routing = with_cost(1e5)});
  }
  Report const report = read_report({root.path});
  CHECK(cost_pair(report, "mod", "forward_flops")->compared());
  CHECK(std::any_of(report.warnings.begin(), report.warnings.end(),
                    [](auto const& w) { return contains(w, "the dense frontier stands on 1 arm"); }));
}

TEST_CASE("frontier: a reference is held against the arm whose tokens it has seen, and is part of no other verdict") {
  Folder const root;
  experiment(root, 2e5, 2.95);
  Config asked = load_config(root.path / "experiment.yaml", {}).config;
  asked.compare.arms.push_back({"bound", {}, {"", MatchAdjust::layers, "mod"}, true});
  write_file_atomic(root.path / "experiment.yaml", to_yaml(asked));
  for (int64_t seed : {1, 2}) {
    FakeRun run{.loss = 2.5 + 0.01 * static_cast<double>(seed), .train_flops = 3000000000000, .layers = 8, .routing = with_cost(8e5)};
    write_run(root.path, "bound", seed, run);
  }
  Report const report = read_report({root.path});
  CHECK(report.best_dense == "d3");
  CHECK_FALSE(report.pair("bound", "d3", "flops"));
  CHECK_FALSE(report.pair("bound", "d1", "flops"));
  CHECK(report.frontiers.at(0).points.size() == 4);
  CHECK(report.frontiers.at(0).costliest() == 4e5);
  Pair const* const pair = report.pair("bound", "mod", "tokens");
  REQUIRE(pair);
  CHECK(pair->verdict.starts_with("better by 15"));
  CHECK(contains(pair->note, "the same tokens at 3 times the training FLOPs"));
  CHECK(contains(report_table(report), "bound, a bound for mod, on the same tokens: better by 15"));
}

// Invented losses are linear in the logarithm of the cost. A seed shifts all arms alike; each run has noise of its own.
TEST_CASE("frontier: on known surfaces the sign is right whenever the truth is outside of the noise") {
  double const noise = 0.002;
  auto const surface = [](double cost) { return 3.5 - 0.12 * std::log(cost / 1e5); };
  int wrong = 0, covered = 0, found = 0;
  for (uint64_t trial = 0; trial < 1000; ++trial) {
    uint64_t counter = 100 * trial;
    double const gain = trial % 2 ? -0.03 : 0.03, at = 1.5e5 * (1 + static_cast<double>(trial % 7) / 4);
    std::vector<double> offsets;
    for (int seed = 0; seed < 3; ++seed) offsets.push_back(0.02 * random_normal(3, counter++));
    auto const losses = [&](double expected) {
      std::vector<double> all;
      for (double const offset : offsets) all.push_back(expected + offset + noise * random_normal(3, counter++));
      return all;
    };
    std::vector<FrontierPoint> points;
    for (double const cost : {1e5, 2e5, 3e5, 4e5}) points.push_back(dense("d", cost, losses(surface(cost))));
    std::vector<double> const routed = losses(surface(at) + gain);
    Frontier const frontier = frontier_of(points, {1, 2, 3});
    std::vector<double> theirs;
    for (size_t seed = 0; seed < 3; ++seed) theirs.push_back(*frontier.loss_at(seed, at));
    PairedDifference const difference = paired_percent(routed, theirs);
    double const truth = 100 * gain / surface(at);
    wrong += (difference.percent > 0) != (gain > 0);
    found += difference.significant();
    covered += std::abs(difference.percent - truth) <= *difference.half_width;
  }
  CHECK(wrong == 0);
  CHECK(found > 950);
  CHECK(covered >= 930);
}
