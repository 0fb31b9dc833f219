#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/utf8.h"
#include "tests/fast/report_runs.h"
#include "trainer/report/report.h"

using namespace isobath;
using Catch::Approx;

TEST_CASE("report: the verdict is against the best dense arm, whatever the baseline is") {
  Folder const root;
  write_experiment(root.path, {"dense", "shallow", "mod"}, {1, 2, 3}, "dense");
  for (int64_t seed : {1, 2, 3}) {
    double const luck = 0.1 * static_cast<double>(seed);
    write_run(root.path, "dense", seed, {.loss = 3.10 + luck});
    write_run(root.path, "shallow", seed, {.loss = 3.00 + luck, .layers = 3});
    write_run(root.path, "mod", seed, {.loss = 3.03 + luck + 0.001 * static_cast<double>(seed % 2), .routed = true});
  }
  Report const report = read_report({root.path});
  CHECK(report.best_dense == "shallow");
  CHECK(report.challenger == "mod");
  Pair const* verdict = report.pair("mod", "shallow", "flops");
  REQUIRE(verdict);
  CHECK(verdict->difference.percent > 0);
  CHECK(verdict->verdict.starts_with("worse by 0.9"));
  CHECK(report.headline.starts_with("mod against shallow, the best dense arm: worse by"));
  // Better than the baseline, which says nothing about the best dense arm.
  Pair const* against_baseline = report.pair("mod", "dense", "flops");
  REQUIRE(against_baseline);
  CHECK(against_baseline->verdict.starts_with("better by"));
  CHECK(report.pair("dense", "shallow", "flops"));
  CHECK_FALSE(report.pair("shallow", "dense", "flops"));  // the same said twice
  CHECK(report.incomplete.empty());
}

TEST_CASE("report: equal time reads the longer run off its curve and says so") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1, 2}, "dense");
  for (int64_t seed : {1, 2}) {
    write_run(root.path, "dense", seed, {.loss = 3.0, .time_s = 75});
    write_run(root.path, "mod", seed, {.loss = 2.95, .time_s = 100, .routed = true});
  }
  Report const report = read_report({root.path});
  Pair const* time = report.pair("mod", "dense", "time");
  REQUIRE(time);
  // After 75 s mod stands at its third validation: 2.95 + 1/3 - 1/4.
  CHECK(time->arm_loss == Approx(2.95 + 1.0 / 12));
  CHECK(time->baseline_loss == Approx(3.0));
  CHECK(time->difference.percent > 0);
  CHECK(report.pair("mod", "dense", "flops")->difference.percent < 0);
  CHECK(contains(time->note, "dense took 1m15s of training, mod took 1m40s and is interpolated at 1m15s"));
  CHECK(contains(time->note, "a run of mod planned for that time would do better"));
}

TEST_CASE("report: the verdict stands on the final evaluation, equal time on the curves") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1, 2}, "dense");
  for (int64_t seed : {1, 2}) {
    write_run(root.path, "dense", seed, {.loss = 3.0, .curve_offset = 0.5});
    write_run(root.path, "mod", seed, {.loss = 2.9, .routed = true, .curve_offset = 0.5});
  }
  Report const report = read_report({root.path});
  CHECK(report.pair("mod", "dense", "flops")->arm_loss == Approx(2.9));
  CHECK(report.pair("mod", "dense", "time")->arm_loss == Approx(3.4));
  CHECK(report.arm("mod")->runs[0].curve.size() == 4);
}

TEST_CASE("report: loss at a time lies on the curve and between its points") {
  std::vector<ValidationPoint> curve(3);
  for (size_t i = 0; i < 3; ++i) {
    curve[i].time_s = 10.0 * static_cast<double>(1 << i);  // 10, 20, 40
    curve[i].metrics.set("loss_causal", {5.0 - static_cast<double>(i)});
  }
  CHECK(*metric_at_time(curve, "loss_causal", 10) == 5);
  CHECK(*metric_at_time(curve, "loss_causal", 40) == 3);
  CHECK(*metric_at_time(curve, "loss_causal", 10 * std::sqrt(2.0)) == Approx(4.5));
  CHECK_FALSE(metric_at_time(curve, "loss_causal", 5));
  CHECK_FALSE(metric_at_time(curve, "loss_causal", 50));
  CHECK(*metric_at_time(curve, "loss_causal", 40.0001) == 3);
}

TEST_CASE("report: what did not finish is named and does not count") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1, 2, 3}, "dense");
  for (int64_t seed : {1, 2, 3}) write_run(root.path, "dense", seed, {});
  write_run(root.path, "mod", 1, {.loss = 2.9, .routed = true});
  write_run(root.path, "mod", 2, {.loss = 9.9, .status = "diverged", .routed = true});
  Report const report = read_report({root.path});
  REQUIRE(report.incomplete.size() == 2);
  CHECK(report.incomplete[0] == "mod/seed-2: diverged at step 1000");
  CHECK(report.incomplete[1] == "mod/seed-3: not started");
  CHECK(report.arm("mod")->runs.size() == 1);
  CHECK(report.pair("mod", "dense", "flops")->difference.n == 1);
  CHECK(contains(report.headline, "one seed: no confidence interval"));
  CHECK(contains(report_table(report), "incomplete: mod/seed-2: diverged at step 1000"));
}

TEST_CASE("report: runs of unequal training FLOPs have no verdict at equal FLOPs, and the reason in its place") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1, 2}, "dense");
  for (int64_t seed : {1, 2}) write_run(root.path, "dense", seed, {});
  write_run(root.path, "mod", 1, {.loss = 2.9, .routed = true});
  SECTION("0.05 % is rounding") {
    write_run(root.path, "mod", 2, {.loss = 2.9, .train_flops = 1000500000000, .routed = true});
    Report const report = read_report({root.path});
    CHECK(report.pair("mod", "dense", "flops")->difference.n == 2);
    CHECK(contains(report.headline, "equal training FLOPs)"));
  }
  SECTION("0.2 % in one seed is not") {
    write_run(root.path, "mod", 2, {.loss = 2.9, .train_flops = 1002000000000, .routed = true});
    Report const report = read_report({root.path});
    Pair const& pair = *report.pair("mod", "dense", "flops");
    CHECK_FALSE(pair.compared());
    CHECK(pair.verdict.starts_with("no verdict: training FLOPs differ by 0.20 % (dense seed 1 spent 1e+12, mod seed 2 spent 1.002e+12"));
    CHECK(report.headline == "mod against dense, the best dense arm: " + pair.verdict);
    json const written = json::parse(report_json(report).dump());
    CHECK(written["pairs"][0]["delta_percent"].is_null());
    for (std::string const& text : {report_table(report), written.dump()}) CHECK_FALSE(contains(text, "equal training FLOPs)"));
    CHECK(report.pair("mod", "dense", "time")->difference.n == 2);  // its condition is the machine
  }
}

TEST_CASE("report: training FLOPs beyond 64 bits are read and written to the last digit") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1}, "dense");
  Int128 const large = *parse_int128("1000000000000000000000004");
  write_run(root.path, "dense", 1, {.train_flops = large});
  write_run(root.path, "mod", 1, {.train_flops = large, .routed = true});
  Report const report = read_report({root.path});
  CHECK(report.arm("dense")->runs.front().train_flops == large);
  CHECK(report.pair("mod", "dense", "flops")->compared());
  json const arm = json::parse(report_json(report).dump())["arms"][0];
  CHECK(arm["train_flops"] == "1000000000000000000000004");
  CHECK(arm["runs"][0]["train_flops"] == "1000000000000000000000004");
  CHECK(arm["runs"][0]["curve"][0]["train_flops_total"] == "250000000000000000000001");
  CHECK(contains(report_html(report), "\"train_flops\":\"1000000000000000000000004\""));
}

TEST_CASE("report: runs of different builds of the program are named") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1, 2}, "dense");
  auto const build_warnings = [&] {
    std::vector<std::string> found;
    for (std::string const& warning : read_report({root.path}).warnings)
      if (contains(warning, "builds of the program")) found.push_back(warning);
    return found;
  };
  for (int64_t seed : {1, 2}) {
    write_run(root.path, "dense", seed, {.build = "abc1234, GNU 13"});
    write_run(root.path, "mod", seed, {.loss = 2.9, .routed = true, .build = "abc1234, GNU 13"});
  }
  CHECK(build_warnings().empty());
  SECTION("another revision") {
    write_run(root.path, "mod", 2, {.loss = 2.9, .routed = true, .build = "def5678, GNU 13"});
    REQUIRE(build_warnings().size() == 1);
    CHECK(contains(build_warnings()[0], "abc1234, GNU 13 (dense seed 1, dense seed 2, mod seed 1)"));
    CHECK(contains(build_warnings()[0], "def5678, GNU 13 (mod seed 2)"));
  }
  SECTION("a run that another build went on with") {
    std::ofstream(root.path / "mod/seed-1/metrics.jsonl", std::ios::app)
        << json{{"kind", "run"}, {"build", "def5678, GNU 13"}} << "\n"
        << json{{"kind", "end"}, {"status", "finished"}, {"step", 1000}, {"train_flops_total", 1000000000000}} << "\n";
    REQUIRE(build_warnings().size() == 1);
    CHECK(contains(build_warnings()[0], "def5678, GNU 13 (mod seed 1)"));
    json const report = json::parse(report_json(read_report({root.path})).dump());
    CHECK(report["arms"][1]["runs"][0]["builds"] == json{"abc1234, GNU 13", "def5678, GNU 13"});
    CHECK(report["arms"][1]["runs"][1]["builds"] == json::array({"abc1234, GNU 13"}));
  }
  SECTION("an older run, which did not record it") {
    write_run(root.path, "dense", 1, {});
    REQUIRE(build_warnings().size() == 1);
    CHECK(contains(build_warnings()[0], "not recorded (dense seed 1)"));
  }
}

TEST_CASE("report: JSON carries every promised field") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1, 2}, "dense");
  for (int64_t seed : {1, 2}) {
    write_run(root.path, "dense", seed, {.loss = 3.0 + 0.01 * static_cast<double>(seed)});
    write_run(root.path, "mod", seed, {.loss = 2.9 + 0.01 * static_cast<double>(seed), .routed = true});
  }
  write_file_atomic(root.path / "mod/seed-1/process.json", R"({"peak_memory_bytes": 123456789})");
  write_file_atomic(root.path / "mod/seed-1/decode.json",
                    R"({"batches": [{"batch": 16, "prompt": 64, "tokens_per_s": 4321, "kv_bytes_per_token": 1600, "blocks_per_token": 2.5},
                                    {"batch": 1, "prompt": 64, "tokens_per_s": 987, "kv_bytes_per_token": null}]})");
  write_file_atomic(root.path / "command.txt", "isobath compare e.yaml\n");
  write_file_atomic(root.path / "dense/seed-1/environment.json", R"({"cpu": "slide rule", "threads": 2})");
  fs::path const page = write_report(read_report({root.path}), root.path);
  CHECK(page == root.path / "report.html");
  json const report = json::parse(read_file(root.path / "report.json"));
  REQUIRE(report["arms"].size() == 2);
  for (json const& arm : report["arms"])
    for (char const* key : {"name", "seeds", "params", "params_non_embedding", "forward_flops_per_token_topk",
                            "forward_flops_per_token_causal", "train_flops", "tokens", "epochs", "loss_topk", "loss_causal", "step_time_s",
                            "tokens_per_s", "peak_memory_bytes", "kv_bytes_per_token"}) {
      CAPTURE(key);
      CHECK(arm.contains(key));
      CHECK_FALSE(arm[key].is_null());
    }
  CHECK(report["command"] == "isobath compare e.yaml");
  CHECK(report["environment"]["cpu"] == "slide rule");
  json const& mod = report["arms"][1];
  CHECK(mod["loss_causal"]["mean"].get<double>() == Approx(2.915));
  CHECK(mod["loss_causal"]["std"].get<double>() == Approx(0.01 / std::sqrt(2.0)));
  CHECK(mod["loss_topk"]["mean"].get<double>() == Approx(2.905));
  CHECK(mod["peak_memory_bytes"] == 123456789);  // the process's, not what the trainer thought
  CHECK(mod["seeds"] == json{1, 2});
  CHECK(report["arms"][0]["decoding"].empty());
  CHECK(mod["decoding"][0]["batch"] == 16);
  CHECK(mod["decoding"][0]["tokens_per_s"] == 4321);
  CHECK(mod["decoding"][1]["kv_bytes_per_token"].is_null());
  Report const read = read_report({root.path});
  CHECK(read.decoded_batches() == std::vector<int64_t>{1, 16});
  std::string const table = report_table(read);
  for (char const* shown : {"tok/s by 1 ", "tok/s by 16", "4.32k", "987", "1.6 KiB"}) {
    CAPTURE(shown);
    CHECK(contains(table, shown));
  }
  CHECK(mod["runs"][0]["curve"].size() == 4);
  CHECK(mod["runs"][1]["loss_causal"].get<double>() == Approx(2.92));
  CHECK(mod["runs"][0]["router_precision"] == json{0.9, nullptr});
  json const& pair = report["pairs"][0];
  CHECK(pair["arm"] == "mod");
  CHECK(pair["baseline"] == "dense");
  CHECK(pair["n_seeds"] == 2);
  CHECK(pair["ci95"][0].get<double>() < pair["delta_percent"].get<double>());
  CHECK(pair["ci95"][1].get<double>() > pair["delta_percent"].get<double>());
  CHECK(pair["verdict"].get<std::string>().starts_with("better by"));
}

TEST_CASE("report: the page is self-contained and escapes what it shows") {
  Folder const root;
  fs::path const folder = root.path / "a<script>&b";
  fs::create_directories(folder);
  write_experiment(folder, {"dense", "mod"}, {1, 2}, "dense");
  for (int64_t seed : {1, 2}) {
    write_run(folder, "dense", seed, {});
    write_run(folder, "mod", seed, {.loss = 2.9, .routed = true});
  }
  std::string const html = report_html(read_report({folder}));
  CHECK(contains(html, "a&lt;script>&amp;b"));              // in the title
  CHECK(contains(html, "\"name\":\"a\\u003cscript>&b\""));  // in the data
  CHECK_FALSE(contains(html, "a<script"));
  CHECK_FALSE(contains(html, "http"));  // nothing is fetched
  CHECK_FALSE(contains(html, "{{"));    // every place of the template is filled
}

TEST_CASE("report: names and texts that are not UTF-8 make a valid page") {
  Folder const root;
  write_run(root.path, "dense", 1, {});
  write_file_atomic(root.path / "dense/seed-1/command.txt", "isobath train \xc3\x28\n");
  Report report = read_report({root.path / "dense/seed-1"});
  report.name = "bad\xff{{script}}";
  std::string const html = report_html(report);
  CHECK(utf8_prefix(html) == html.size());
  CHECK(contains(html, "<title>bad\ufffd{{script}} "));  // what stands in a value is no place of the template
}

TEST_CASE("report: plain run folders compare too") {
  Folder const root;
  write_run(root.path, "dense", 1, {});
  write_run(root.path, "mod", 1, {.loss = 2.9, .routed = true});
  Report const report = read_report({root.path / "dense/seed-1", root.path / "mod/seed-1"});
  CHECK(report.arms.size() == 2);
  CHECK(report.challenger == "mod");
  Report const alone = read_report({root.path / "mod/seed-1"});
  CHECK(contains(alone.headline, "nothing to compare"));
  CHECK_NOTHROW(report_html(alone));
  CHECK_NOTHROW(report_table(alone));
}

TEST_CASE("report: a folder that is no run is refused by name") {
  Folder const root;
  try {
    read_report({root.path});
    FAIL("accepted");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::data);
    CHECK(contains(error.what(), root.path.string()));
  }
}

TEST_CASE("report: half-written metrics lines and resumed runs") {
  Folder const root;
  write_run(root.path, "dense", 1, {});
  fs::path const folder = root.path / "dense/seed-1";
  std::string const whole = read_file(folder / "metrics.jsonl");
  std::ofstream(folder / "metrics.jsonl") << whole << "{\"kind\":\"run\",\"params\":1000}\n{\"kind\":\"valid";
  RunResult const run = read_run(folder, "dense");
  CHECK(run.curve.size() == 4);
  CHECK_FALSE(run.finished());  // started again, not ended yet
}
