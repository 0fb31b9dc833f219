// What the report shows of routers, and how it treats runs that did not measure routing.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "tests/fast/report_runs.h"
#include "trainer/report/html/histogram.h"
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

// Cells of the rows of the page's n-th table of routed layers, heads first.
std::vector<std::vector<std::string>> layer_table(std::string const& html, size_t n) {
  size_t at = 0;
  for (size_t i = 0; i <= n; ++i) at = html.find("<table class=\"layers\">", at + 1);
  REQUIRE(at != std::string::npos);
  std::string const table = html.substr(at, html.find("</table>", at) - at);
  std::regex const row("<tr>(.*?)</tr>"), cell("<t[hd]>(.*?)</t[hd]>");
  std::vector<std::vector<std::string>> rows;
  for (std::sregex_iterator r(table.begin(), table.end(), row), end; r != end; ++r) {
    std::string const text = (*r)[1];
    rows.emplace_back();
    for (std::sregex_iterator c(text.begin(), text.end(), cell); c != end; ++c) rows.back().push_back((*c)[1]);
  }
  return rows;
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

TEST_CASE("report: what validations say of the routers reaches JSON, page and terminal") {
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
    CHECK(older["calibration_tokens"] == 0);
    CHECK(arms[2]["router_f1_ceiling"].is_null());
  }

  SECTION("report.html") {
    std::string const html = report_html(report);
    std::vector<std::string> const heads{"Layer (from\u00a00)", "Realised capacity", "Precision",        "Recall", "F1",       "F1 ceiling",
                                         "F1 / ceiling",        "Token entropy",     "Position entropy", "Dead",   "Always on"};
    auto const table = layer_table(html, 0), older = layer_table(html, 1);
    REQUIRE(table.size() == 3);
    CHECK(table[0] == heads);
    CHECK(table[1][4] == "0.820");  // means over seeds
    CHECK(table[1][5] == "0.875");
    CHECK(table[1][6] == "93.7\u00a0%");
    CHECK(table[1][7] == "0.625");
    CHECK(table[1][8] == "0.938");
    CHECK(table[1][9] == "25.0\u00a0%");
    CHECK(table[1][10] == "0.0\u00a0%");
    CHECK(table[2][4] == "0.500");  // of the seed that measured it
    CHECK(table[2][6] == "80.0\u00a0%");
    CHECK(table[2][8] == "\u2013");
    CHECK(table[2][10] == "3.1\u00a0%");
    CHECK(older[1][4] == "0.847");
    CHECK(older[1][5] == "\u2013");
    for (size_t i = 4; i < heads.size(); ++i) CHECK(contains(html, "<dt>" + heads[i] + "</dt><dd>"));

    size_t const first = html.find(">mod</h3>"), last = html.find(">old</h3>", first);
    std::string const mod = html.substr(first, last - first), old = html.substr(last);
    CHECK(contains(mod, "decisions calibrated on 16384 tokens of training text"));
    CHECK_FALSE(contains(mod, "independent scores"));
    CHECK(contains(old, "decisions as trained"));
    CHECK(contains(old, "independent scores would reach"));
    CHECK(contains(mod, "<figure class=\"histograms c1\">"));
    CHECK(contains(mod, ">layer 1</text>"));
    CHECK_FALSE(contains(mod, ">layer 3</text>"));  // not measured
    CHECK_FALSE(contains(old, "histograms"));
    CHECK(contains(html, "<th>Causal over top-k loss</th><td>\u2013</td><td>+0.400\u00a0%</td>"));
    CHECK_FALSE(contains(html, "nan"));
  }

  SECTION("terminal") {
    std::string const text = report_table(report);
    using Words = std::vector<std::string>;
    CHECK(table_row(text, "F1 ceiling", "mod") ==
          Words{"mod", "12.5", "%", "->", "12.5", "%", "+0.400", "%", "90.0", "%", "75.0", "%", "0.713", "0.792"});
    CHECK(table_row(text, "F1 ceiling", "old") ==
          Words{"old", "12.5", "%", "->", "12.5", "%", "+0.400", "%", "90.0", "%", "75.0", "%", "0.847", "-"});
  }
}

TEST_CASE("report: without the newer routing keys nothing is said of them") {
  Folder const root;
  for (char const* arm : {"dense", "mod"}) write_run(root.path, arm, 1, {.routed = std::string(arm) == "mod"});
  std::string const html = report_html(read_report({root.path / "dense/seed-1", root.path / "mod/seed-1"}));
  auto const table = layer_table(html, 0);
  CHECK(table[0] == std::vector<std::string>{"Layer (from\u00a00)", "Realised capacity", "Precision", "Recall", "F1"});
  CHECK(table[2] == std::vector<std::string>{"3", "13.0\u00a0%", "\u2013", "70.0\u00a0%", "\u2013"});
  CHECK_FALSE(contains(html, "Token entropy"));
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
  CHECK_FALSE(contains(report_html(report), "<figure class=\"histograms"));
  json const run = json::parse(report_json(report).dump())["arms"][0]["runs"][0];
  for (json const& layer : run["score_histogram"]) CHECK(layer.is_null());
}

TEST_CASE("report: histograms draw every bin to one scale, picked tokens over all") {
  std::string const svg = histogram_svg({-1.5, 2.5, {10, 40, 20, 0}, {0, 0, 10, 0}}, "layer <3>");
  // Tops of the four bins; 84 is the floor, 20 the fullest bin's top.
  CHECK(contains(svg, "class=\"all\" d=\"M0 84V68.00H40.00V20.00H80.00V52.00H120.00V84.00H160.00V84Z"));
  CHECK(contains(svg, "class=\"picked\" d=\"M0 84V84.00H40.00V84.00H80.00V68.00H120.00V84.00H160.00V84Z"));
  CHECK(svg.find("\"all\"") < svg.find("\"picked\""));
  CHECK(contains(svg, ">layer &lt;3&gt;</text>"));
  CHECK(contains(svg, ">\u22121.5</text>"));
  CHECK(contains(svg, ">2.5</text>"));
  CHECK_FALSE(contains(histogram_svg({0, 1, {0, 0}, {0, 0}}, "empty"), "nan"));
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

  std::string const html = report_html(report);
  for (char const* shown : {"exits after 2", "Best branch in hindsight", "3.05", "whose branch is deeper"})
    CHECK(html.find(shown) != std::string::npos);
  CHECK(html.find("nan") == std::string::npos);
  using Words = std::vector<std::string>;
  std::string const text = report_table(report);
  CHECK(table_row(text, "head-room", "deep") == Words{"deep", "3.00", "->", "3.05", "2.5000", "2.0000", "25.00", "%"});
  CHECK(text.find("F1 ceiling") == std::string::npos);
  CHECK(text.find("coin") == std::string::npos);
}
