// The table of metrics: one row is all that a metric needs.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/fast/report_runs.h"
#include "trainer/metrics/metric.h"
#include "trainer/report/report.h"

using namespace isobath;
using Catch::Approx;

namespace {

// An evaluation of two routed layers.
ValidationReading reading() {
  ValidationReading validation;
  RoutingResult result;
  result.loss = 2.5;
  result.capacity = {0.25, 0.5};
  result.layers.resize(2);
  result.layers[0].f1 = 0.75;
  result.layers[1].f1 = std::nan("");
  validation.evaluation.causal = result;
  validation.evaluation.tokens = 640;
  return validation;
}

void add_surprise() {
  static bool const once = [] {
    add_metric(Metric{"surprise", "nats", "a metric that a test adds",
                      Read<ValidationReading>([](ValidationReading const& v) -> std::optional<MetricValues> {
                        return MetricValues{2 * v.evaluation.causal->loss};
                      })}
                   .over(OverSeeds::spread)
                   .shown(Group::quality, "Surprise of the test", "surprise", Format::decimals, 2));
    return true;
  }();
  CHECK(once);
}

}  // namespace

TEST_CASE("metrics: one row puts a metric into records, report.json, terminal, page and documentation") {
  add_surprise();
  json const record = json::parse(metrics_json(reading()).dump());
  CHECK(record["surprise"] == 5.0);

  Folder const root;
  for (int64_t seed : {1, 2}) {
    write_run(root.path, "dense", seed, {.routing = {{"surprise", 4.0 + 0.5 * static_cast<double>(seed)}}});
    write_run(root.path, "mod", seed, {.loss = 2.9, .routed = true});  // did not measure it
  }
  Report const report =
      read_report({root.path / "dense/seed-1", root.path / "dense/seed-2", root.path / "mod/seed-1", root.path / "mod/seed-2"});
  json const written = json::parse(report_json(report).dump());
  CHECK(written["arms"][0]["surprise"]["mean"] == 4.75);
  CHECK(written["arms"][0]["surprise"]["std"].get<double>() == Approx(0.5 / std::sqrt(2.0)));
  CHECK(written["arms"][0]["runs"][1]["surprise"] == 5.0);
  CHECK(written["arms"][1]["surprise"]["mean"].is_null());

  std::string const terminal = report_table(report);
  CHECK(contains(terminal, "surprise"));
  CHECK(contains(terminal, "4.75 +- 0.35"));
  // The page is drawn from this description (tests/e2e/test_report_page.py).
  json const& described = written["metrics"].back();
  CHECK(described["label"] == "Surprise of the test");
  CHECK(described["group"] == "quality");
  CHECK(contains(report_html(report), "Surprise of the test"));
  CHECK(contains(metric_documentation(), "| `surprise` | nats | mean, deviation | a metric that a test adds |"));
}

TEST_CASE("metrics: a key belongs to one row, and only rows have keys") {
  Metric metric{"loss_causal", "", "", reads<ValidationReading>([](auto const&) { return 1; })};
  CHECK_THROWS_AS(add_metric(metric), std::logic_error);
  metric.key = "another";  // its key in reports is still taken
  CHECK_THROWS_AS(add_metric(metric), std::logic_error);
  CHECK_THROWS_AS(MetricMap()["loss_casual"], std::logic_error);
  std::set<std::pair<size_t, std::string>> keys;
  for (Metric const& row : all_metrics()) {
    CAPTURE(row.key);
    CHECK(keys.emplace(row.source.index(), row.key).second);
    CHECK_FALSE(row.meaning.empty());
    CHECK((row.group == Group::none) == row.label.empty());  // who shows a row names it
  }
}

TEST_CASE("metrics: what was not measured is null in records, and no number in reports") {
  json const record = json::parse(metrics_json(reading()).dump());
  CHECK(record["loss_causal"] == 2.5);
  CHECK(record["eval_tokens"] == 640);
  CHECK(record["capacity_causal"] == json{0.25, 0.5});
  CHECK(record["router_f1"] == json{0.75, nullptr});
  CHECK_FALSE(record.contains("loss_topk"));  // this routing was not evaluated
  CHECK_FALSE(record.contains("oracle_loss"));
  MetricMap values;
  take_metrics<ValidationReading>(record, values);
  CHECK(values["loss_causal"] == 2.5);
  CHECK(std::isnan(values["loss_topk"]));
  CHECK(values.list("router_f1").size() == 2);
  CHECK(std::isnan(values.list("router_f1")[1]));
  CHECK(std::isnan(values["router_f1"]));  // a list is no single value
}

TEST_CASE("metrics: pooled over layers and seeds as their rows say") {
  Folder const root;
  write_run(root.path, "mod", 1, {.routed = true, .routing = {{"router_f1", {0.5, nullptr}}}});
  write_run(root.path, "mod", 2, {.time_s = 300, .routed = true, .routing = {{"router_f1", {0.75, 1.0}}}});
  write_run(root.path, "mod", 3, {.time_s = 110, .routed = true, .routing = {{"router_f1", {0.75, 0.5}}}});
  std::ofstream(root.path / "mod/seed-2/process.json") << R"({"peak_memory_bytes": 5000000})";
  Report const report = read_report({root.path / "mod/seed-1", root.path / "mod/seed-2", root.path / "mod/seed-3"});
  ArmResult const& arm = *report.arm("mod");
  CHECK(arm["router_f1"] == Approx((0.5 + 0.75 + 1.0 + 0.75 + 0.5) / 5));
  CHECK(arm.by_layer("router_f1")[0] == Approx(2.0 / 3));
  CHECK(arm.by_layer("router_f1")[1] == Approx(0.75));
  CHECK(arm["step_time_s"] == Approx(0.11));  // median
  CHECK(arm["time_s"] == Approx((100 + 300 + 110) / 3.0));
  CHECK(arm["peak_memory_bytes"] == 5000000);        // the largest
  CHECK(std::isnan(arm["oracle_loss_same_depth"]));  // no run has it
}

TEST_CASE("metrics: docs/metrics.md is what `isobath report --metrics` prints") {
  std::string documentation = metric_documentation();
  std::string const added = "| `surprise` | nats | mean, deviation | a metric that a test adds |\n";  // where tests share a process
  if (size_t const at = documentation.find(added); at != std::string::npos) documentation.erase(at, added.size());
  CHECK(read_file(fs::path(ISOBATH_SOURCE_DIR) / "docs" / "metrics.md") == documentation);
}

TEST_CASE("metrics: values as the terminal shows them") {
  Metric metric{"x", "", "", reads<EndReading>([](auto const&) { return 0; })};
  auto const shown = [&](Format format, int digits, double value) {
    metric.format = format;
    metric.digits = digits;
    return format_metric(metric, value);
  };
  CHECK(shown(Format::decimals, 2, 1.005e2) == "100.50");
  CHECK(shown(Format::percent, 1, 0.125) == "12.5 %");
  CHECK(shown(Format::signed_percent, 3, -0.25) == "-0.250 %");
  CHECK(shown(Format::si, 0, 4321) == "4.32k");
  CHECK(shown(Format::bytes, 0, 2048) == "2.0 KiB");
  CHECK(shown(Format::milliseconds, 0, 0.0125) == "12.5 ms");
  CHECK(shown(Format::scientific, 0, 1.2e13) == "12.0T");
  CHECK(shown(Format::si, 0, std::nan("")) == "-");
}
