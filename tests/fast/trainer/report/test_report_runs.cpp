// What a report says of runs as such: those that have not finished, their training curves, what arms set, notes about them.
#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/fast/report_runs.h"
#include "trainer/report/report.h"
#include "trainer/report/settings.h"

using namespace isobath;
using Catch::Approx;

namespace {

// A run that has begun and written two validations.
void begin_run(fs::path const& root, std::string const& arm, int64_t seed) {
  write_run(root, arm, seed, {.start = {{"steps", 1000}}, .trained = 10});
  fs::path const metrics = root / arm / ("seed-" + std::to_string(seed)) / "metrics.jsonl";
  std::istringstream lines(read_file(metrics));
  std::string kept;
  int validations = 0;
  for (std::string line; std::getline(lines, line) && validations < 2; kept += line + "\n")
    if (json::parse(line)["kind"] == "validation") ++validations;
  write_file_atomic(metrics, kept + "{\"kind\":\"trai");  // and is writing
}

bool has_note(Report const& report, std::string const& text) {
  return std::any_of(report.warnings.begin(), report.warnings.end(), [&](std::string const& note) { return contains(note, text); });
}

}  // namespace

TEST_CASE("report: a run that has begun is shown so far, and takes no part in the verdict") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod", "late"}, {1}, "dense");
  write_run(root.path, "dense", 1, {});
  write_run(root.path, "mod", 1, {.loss = 2.9, .routed = true});
  begin_run(root.path, "late", 1);
  Report report = read_report({root.path});
  CHECK(report.incomplete == std::vector<std::string>{"late/seed-1: broken off at step 500 of 1000"});
  CHECK(report.arms.size() == 2);
  CHECK(report.challenger == "mod");
  CHECK_FALSE(report.running);
  FileLock const held(root.path / "late/seed-1/.lock");
  report = read_report({root.path});
  CHECK(report.running);
  CHECK(contains(report_table(report), "incomplete: late/seed-1: running at step 500 of 1000"));
  json const page = json::parse(report_json(report, root.path).dump());
  REQUIRE(page["unfinished"].size() == 1);
  json const& late = page["unfinished"][0];
  CHECK(late["state"] == "running");
  CHECK(late["curve"].size() == 2);
  CHECK(late["training"]["step"].size() == 10);
  CHECK(late["link"] == "late/seed-1");
  CHECK(page["order"] == json{"dense", "mod", "late"});
}

TEST_CASE("report: before any run has finished there are the curves so far") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1}, "dense");
  begin_run(root.path, "dense", 1);
  Report const report = read_report({root.path});
  CHECK(report.headline == "no run has finished yet");
  CHECK(report.incomplete.size() == 2);
  CHECK(report.incomplete[1] == "mod/seed-1: not started");
  json const page = json::parse(report_json(report).dump());
  CHECK(page["unfinished"][0]["loss_causal"].get<double>() == Approx(3 + 0.5 - 0.25));
  CHECK(page["setup"]["context"] == 128);
}

TEST_CASE("report: training curves are means of neighbours, at most 150 of them") {
  Folder const root;
  write_run(root.path, "dense", 1, {.trained = 450});
  RunResult const run = read_run(root.path / "dense/seed-1", "dense");
  REQUIRE(run.training.size() == 150);
  CHECK(run.training[0].step == 3);
  CHECK(run.training[0].train_flops == 3000);
  CHECK(run.training[0].values[0] == Approx(5.0 - 0.002));  // of steps 1, 2, 3
  CHECK(run.training.back().step == 450);
  json const training = json::parse(report_json(read_report({root.path / "dense/seed-1"})).dump())["arms"][0]["runs"][0]["training"];
  CHECK(training["train_loss"].size() == 150);
  CHECK(training["lr"][0] == 1e-3);
  CHECK(training["grad_norm"][0].is_null());
}

TEST_CASE("report: what the arms set") {
  Folder const root;
  write_run(root.path, "dense", 1, {});
  write_run(root.path, "mod", 1, {.routed = true, .layers = 6});
  Report const report = read_report({root.path / "dense/seed-1", root.path / "mod/seed-1"});
  auto const settings = arm_settings(report);
  auto const values = [&](std::string const& key) {
    auto const at = std::find_if(settings.begin(), settings.end(), [&](ArmSetting const& one) { return one.key == key; });
    return at == settings.end() ? std::vector<std::string>() : at->values;
  };
  CHECK(values("model.layers") == std::vector<std::string>{"4", "6"});
  CHECK(values("depth.kind") == std::vector<std::string>{"dense", "mod"});
  CHECK(values("train.lr") == std::vector<std::string>{"0.003", "0.003"});  // always shown
  CHECK(values("model.width").empty());                                     // all alike
  CHECK(values("depth.capacity").empty());                                  // the default
  CHECK(values("name").empty());
}

TEST_CASE("report: the best value of a sweep at its edge is named") {
  Folder const root;
  double const rates[] = {1e-3, 2e-3, 4e-3};
  std::vector<std::string> arms;
  std::vector<fs::path> folders;
  auto const sweep = [&](std::vector<double> const& losses) {
    folders.clear();
    for (size_t i = 0; i < 3; ++i) {
      std::string const arm = "lr" + std::to_string(i);
      write_run(root.path, arm, 1, {.loss = losses[i], .lr = rates[i]});
      folders.push_back(root.path / arm / "seed-1");
    }
    return read_report(folders);
  };
  CHECK(has_note(sweep({3.2, 3.1, 3.0}), "train.lr is best at 0.004, the largest of 3 values tried: larger values may be better still"));
  CHECK(has_note(sweep({3.0, 3.1, 3.2}), "the smallest of 3 values tried"));
  CHECK_FALSE(has_note(sweep({3.1, 3.0, 3.2}), "values tried"));
  // Arms that differ in more than the rate are no sweep of it.
  sweep({3.2, 3.1, 3.0});
  write_run(root.path, "lr0", 1, {.loss = 3.2, .layers = 6, .lr = 1e-3});
  CHECK_FALSE(has_note(read_report(folders), "values tried"));
}

TEST_CASE("report: arms share a note") {
  Folder const root;
  std::vector<fs::path> folders;
  for (char const* arm : {"a", "b", "c"}) {
    write_run(root.path, arm, 1, {.start = {{"epochs", 1.5}}});
    folders.push_back(root.path / arm / "seed-1");
  }
  Report const report = read_report(folders);
  CHECK(has_note(report, "a, b and c saw their text 1.5 times"));
  CHECK(std::count_if(report.warnings.begin(), report.warnings.end(), [](std::string const& note) { return contains(note, "saw"); }) == 1);
}

TEST_CASE("report: the texts of one run of each arm") {
  Folder const root;
  for (int64_t seed : {1, 2}) {
    write_run(root.path, "mod", seed, {.routed = true, .routing = {{"sample", "once upon"}}});
    write_file_atomic(root.path / "mod" / ("seed-" + std::to_string(seed)) / "depth_analysis.json",
                      R"({"words": {"deepest": []}, "layers": 4})");
  }
  json const page = json::parse(report_json(read_report({root.path / "mod/seed-1", root.path / "mod/seed-2"})).dump());
  json const& runs = page["arms"][0]["runs"];
  CHECK(runs[0]["sample"] == "once upon");
  CHECK(runs[0]["depth_analysis"]["layers"] == 4);
  CHECK(runs[0].contains("depth_text"));
  for (char const* text : {"sample", "depth_analysis", "depth_text"}) CHECK_FALSE(runs[1].contains(text));
  write_file_atomic(root.path / "mod/seed-1/depth_analysis.json", "[broken");
  CHECK(read_run(root.path / "mod/seed-1", "mod").depth_analysis.empty());
}

TEST_CASE("report: runs that went on under another schedule are named, unless all did") {
  Folder const root;
  std::vector<fs::path> folders;
  auto const extend = [&](char const* arm) {
    fs::path const metrics = root.path / arm / "seed-1/metrics.jsonl";
    write_file_atomic(metrics, json{{"kind", "run"}, {"steps", 500}}.dump() + "\n" + read_file(metrics));
  };
  for (char const* arm : {"a", "b"}) {
    write_run(root.path, arm, 1, {});
    folders.push_back(root.path / arm / "seed-1");
  }
  CHECK_FALSE(has_note(read_report(folders), "new schedule"));
  extend("a");
  CHECK(has_note(read_report(folders), "a seed 1 went on under a new schedule"));
  extend("b");
  CHECK_FALSE(has_note(read_report(folders), "new schedule"));
}

TEST_CASE("report: without a comparison there are no losses of one, and the reason is the only verdict") {
  Folder const root;
  write_run(root.path, "dense", 1, {.time_s = 10});
  write_run(root.path, "mod", 1, {.loss = 2.9, .time_s = 100, .train_flops = 2000000000000, .routed = true});
  Report const report = read_report({root.path / "dense/seed-1", root.path / "mod/seed-1"});
  Pair const& time = *report.pair("mod", "dense", "time");
  CHECK(time.verdict == "no verdict: the shorter run ends before the other's first validation, so nothing can be interpolated");
  CHECK(time.note.empty());
  for (auto const& pair : json::parse(report_json(report).dump())["pairs"])
    for (char const* key : {"arm_loss", "baseline_loss", "delta_percent"}) CHECK(pair[key].is_null());
}

TEST_CASE("report: the best of several is flattered, the only other one is not") {
  Folder const root;
  std::vector<fs::path> folders;
  for (char const* arm : {"a", "b", "c"}) {
    write_run(root.path, arm, 1, {.loss = 3.0 - 0.1 * (arm[0] - 'a'), .routed = true});
    folders.push_back(root.path / arm / "seed-1");
    Report const report = read_report(folders);
    CHECK(has_note(report, "chosen after the fact") == (folders.size() == 3));
  }
}
