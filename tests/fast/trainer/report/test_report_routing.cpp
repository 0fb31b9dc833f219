// What the report shows of routers, and how it treats runs that did not measure routing.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/fast/report_runs.h"
#include "trainer/report/report.h"

using namespace isobath;
using Catch::Approx;

namespace {

// What newer validations say of two routed layers, the second of them measured in part.
json routing_record() {
  return {{"router_f1", {0.84, nullptr}},
          {"router_f1_ceiling", {0.875, nullptr}},
          {"choice_entropy_token", {0.625, 0.5}},
          {"choice_entropy_position", {0.9375, nullptr}},
          {"dead_tokens", {0.25, 0.125}},
          {"always_on_tokens", {0.0, 0.03125}},
          {"score_histogram", {{{"low", -1.5}, {"high", 2.5}, {"tokens", {10, 40, 20, 0}}, {"picked", {0, 0, 15, 0}}}, nullptr}},
          {"calibration_tokens", 16384}};
}

// The words of the line of the terminal's table under the heading that holds `head`, of one arm.
std::vector<std::string> table_row(std::string const& text, std::string const& head, std::string const& arm) {
  size_t const heading = text.find(head);
  if (heading == std::string::npos) return {};
  size_t const at = text.find("\n  " + arm + " ", heading);
  std::istringstream line(text.substr(at + 1, text.find('\n', at + 1) - at - 1));
  return {std::istream_iterator<std::string>(line), {}};
}

}  // namespace

TEST_CASE("report: what validations say of the routers reaches JSON and terminal") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod", "old"}, {1, 2}, "dense");
  json second = routing_record();
  second["router_f1"] = {0.8, 0.5};
  second["router_f1_ceiling"] = {0.875, 0.625};
  for (int64_t seed : {1, 2}) {
    write_run(root.path, "dense", seed, {});
    write_run(root.path, "mod", seed, {.loss = 2.51, .routed = true, .routing = seed == 1 ? routing_record() : second});
    write_run(root.path, "old", seed, {.loss = 2.51, .routed = true});
  }
  Report const report = read_report({root.path});

  SECTION("report.json") {
    json const arms = json::parse(report_json(report).dump())["arms"];
    json const& run = arms[1]["runs"][0];
    json const written = routing_record();
    for (auto const& [key, value] : written.items()) {
      CAPTURE(key);
      CHECK(run[key] == value);
    }
    CHECK(arms[1]["causal_gap_percent"].get<double>() == Approx(0.4));  // 2.51 over 2.50
    CHECK(arms[1]["capacity_causal"].get<double>() == Approx(0.125));
    CHECK(arms[1]["router_f1"].get<double>() == Approx((0.84 + 0.8 + 0.5) / 3));  // of what was measured
    CHECK(arms[1]["router_f1_ceiling"].get<double>() == Approx((0.875 + 0.875 + 0.625) / 3));
    for (char const* key : {"causal_gap_percent", "capacity_causal", "router_f1", "router_f1_ceiling"}) CHECK(arms[0][key].is_null());
    // An older run: F1 follows from precision and recall, the rest is not there.
    json const& older = arms[2]["runs"][0];
    CHECK(older["router_f1"][0].get<double>() == Approx(2 * 0.9 * 0.8 / 1.7));
    CHECK(older["router_f1"][1].is_null());
    CHECK(older["dead_tokens"] == json::array());
    CHECK(older["score_histogram"] == json::array());
    CHECK(older["calibration_tokens"].is_null());
    CHECK(arms[2]["router_f1_ceiling"].is_null());
  }

  SECTION("terminal") {
    std::string const text = report_table(report);
    using Words = std::vector<std::string>;
    CHECK(table_row(text, "F1 ceiling", "mod") == Words{"mod", "12.5", "%", "12.5", "%", "90.0", "%", "75.0", "%", "0.713", "0.792"});
    CHECK(table_row(text, "F1 ceiling", "old") == Words{"old", "12.5", "%", "12.5", "%", "90.0", "%", "75.0", "%", "0.847", "-"});
    CHECK(contains(text, "+0.400 %"));
  }
}

TEST_CASE("report: without the newer routing keys nothing is said of them") {
  Folder const root;
  for (char const* arm : {"dense", "mod"}) write_run(root.path, arm, 1, {.routed = std::string(arm) == "mod"});
  std::string const both = report_table(read_report({root.path / "dense/seed-1", root.path / "mod/seed-1"}));
  CHECK(contains(both, "F1"));
  CHECK_FALSE(contains(both, "F1 ceiling"));
  CHECK_FALSE(contains(report_table(read_report({root.path / "dense/seed-1"})), "F1"));  // no routed arm, no table
}

TEST_CASE("report: a histogram that is not whole is not shown") {
  Folder const root;
  json record = routing_record();
  SECTION("bins that do not agree") { record["score_histogram"][0]["picked"] = {1, 2}; }
  SECTION("no range") { record["score_histogram"][0]["high"] = -1.5; }
  SECTION("no number") { record["score_histogram"][0]["low"] = nullptr; }
  SECTION("no list") { record["score_histogram"] = 3; }
  write_run(root.path, "mod", 1, {.routed = true, .routing = record});
  Report const report = read_report({root.path / "mod/seed-1"});
  json const run = json::parse(report_json(report).dump())["arms"][0]["runs"][0];
  for (json const& layer : run["score_histogram"]) CHECK(layer.is_null());
}

TEST_CASE("report: branches of different depth have a mean depth, a best branch in hindsight and its head-room") {
  Folder const root;
  write_experiment(root.path, {"dense", "deep"}, {1, 2}, "dense");
  for (int64_t seed : {1, 2}) {
    write_run(root.path, "dense", seed, {});
    json const measured = {{"capacity_causal", {0.55, 0.5}},
                           {"mean_depth_causal", seed == 1 ? 3.0 : 3.1},
                           {"oracle_loss_same_depth", 2.0},
                           {"loss_topk", 2.5},
                           {"loss_causal", 2.5}};
    write_run(root.path, "deep", seed, {.loss = 2.5, .nested = true, .routing = measured});
  }
  Report const report = read_report({root.path});
  json const arms = json::parse(report_json(report).dump())["arms"];
  CHECK(arms[1]["mean_depth"].get<double>() == Approx(3.05));
  CHECK(arms[1]["oracle_loss_same_depth"].get<double>() == Approx(2.0));
  CHECK(arms[1]["causal_gap_percent"].is_null());  // there is one routing
  CHECK(arms[0]["mean_depth"].get<double>() == 4);
  CHECK(arms[0]["oracle_loss_same_depth"].is_null());

  using Words = std::vector<std::string>;
  std::string const text = report_table(report);
  CHECK(table_row(text, "head-room", "deep") == Words{"deep", "3.00", "2.0000", "+25.00", "%"});
  CHECK(text.find("F1 ceiling") == std::string::npos);
  CHECK(text.find("coin") == std::string::npos);
}
