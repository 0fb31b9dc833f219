// What a report says when seeds of one arm differ, and when arms have different seeds.
#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "tests/fast/report_runs.h"
#include "trainer/report/report.h"

using namespace isobath;
using Catch::Approx;

namespace {

bool warns(Report const& report, std::string const& part) {
  return std::any_of(report.warnings.begin(), report.warnings.end(), [&](std::string const& w) { return contains(w, part); });
}

}  // namespace

TEST_CASE("seeds: training FLOPs are checked on every seed, not on the first alone") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1, 2}, "dense");
  for (int64_t seed : {1, 2}) write_run(root.path, "dense", seed, {});
  write_run(root.path, "mod", 1, {.loss = 2.9, .routed = true});
  SECTION("0.05 % in the second seed is rounding") {
    write_run(root.path, "mod", 2, {.loss = 2.9, .train_flops = 1000500000000, .routed = true});
    CHECK(read_report({root.path}).pairs.front().compared());
  }
  SECTION("3 % in the second seed are not") {
    write_run(root.path, "mod", 2, {.loss = 2.9, .train_flops = 1030000000000, .routed = true});
    Report const report = read_report({root.path});
    CHECK(contains(report.pairs.front().verdict, "no verdict: training FLOPs differ by 3.00 %"));
    CHECK(contains(report.pairs.front().verdict, "mod seed 2 spent 1.03e+12"));
  }
}

TEST_CASE("seeds: realised columns are means over the seeds") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1, 2}, "dense");
  for (int64_t seed : {1, 2}) write_run(root.path, "dense", seed, {});
  write_run(root.path, "mod", 1, {.loss = 2.9, .train_flops = 1000000000000, .routed = true});
  write_run(root.path, "mod", 2, {.loss = 2.9, .train_flops = 1030000000000, .routed = true});
  Report const report = read_report({root.path});
  json const mod = json::parse(report_json(report).dump())["arms"][1];
  CHECK(mod["train_flops"].get<double>() == Approx(1.015e12));
  CHECK(mod["runs"][1]["train_flops"].get<double>() == Approx(1.03e12));
  CHECK(contains(report_table(report), "1.01T"));
}

TEST_CASE("seeds: a dense arm with a lucky seed alone does not become the best one") {
  Folder const root;
  write_experiment(root.path, {"dense", "shallow", "mod"}, {1, 2, 3}, "dense");
  for (int64_t seed : {1, 2, 3}) {
    double const luck = 0.2 * static_cast<double>(seed);
    write_run(root.path, "dense", seed, {.loss = 3.0 + luck});
    write_run(root.path, "mod", seed, {.loss = 2.99 + luck, .routed = true});
  }
  write_run(root.path, "shallow", 1, {.loss = 3.25, .layers = 3});  // worse than dense on seed 1, lower than the mean of dense
  Report const report = read_report({root.path});
  CHECK(report.best_dense == "dense");
  CHECK(report.headline.starts_with("mod against dense"));
  CHECK(report.pairs.front().difference.n == 3);
  CHECK(warns(report, "shallow lacks seeds 2, 3: it takes no part in the headline"));
  Pair const* shallow = report.pair("shallow", "dense", "flops");  // still shown, on the seed that both have
  REQUIRE(shallow);
  CHECK(shallow->difference.n == 1);
  CHECK(shallow->difference.percent > 0);
}

TEST_CASE("seeds: where whole arms alone would leave no headline, it stands on the seeds that all arms have") {
  Folder const root;
  write_experiment(root.path, {"dense", "shallow", "mod"}, {1, 2, 3}, "dense");
  double const dense[] = {3.3, 2.8, 2.7}, shallow[] = {3.1, 3.2, 3.3};
  for (int64_t seed : {1, 2, 3}) {
    write_run(root.path, "dense", seed, {.loss = dense[seed - 1]});
    write_run(root.path, "shallow", seed, {.loss = shallow[seed - 1], .layers = 3});
  }
  write_run(root.path, "mod", 1, {.loss = 3.2, .routed = true});
  Report const report = read_report({root.path});
  CHECK(report.best_dense == "shallow");  // on seed 1; over all of its own seeds dense would be
  CHECK(report.pairs.front().difference.n == 1);
  CHECK(report.pairs.front().difference.percent > 0);
  CHECK(warns(report, "the headline stands on seed 1, which every arm has"));
}

TEST_CASE("seeds: arms without a common seed have no headline") {
  Folder const root;
  write_run(root.path, "dense", 1, {});
  write_run(root.path, "mod", 2, {.loss = 2.9, .routed = true});
  Report const report = read_report({root.path / "dense/seed-1", root.path / "mod/seed-2"});
  CHECK(report.headline == "no seed has finished in every arm: nothing to compare");
  CHECK(report.challenger.empty());
  CHECK_NOTHROW(report_html(report));
  CHECK_NOTHROW(report_table(report));
}
