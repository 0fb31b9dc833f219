// Reports of experiments with budgets, sizes and tuning, and of folders from several machines.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "core/error.h"
#include "tests/fast/report_runs.h"
#include "trainer/report/report.h"
#include "trainer/report/run_list.h"

using namespace isobath;

namespace {

void write_sweep(fs::path const& root, bool sized = true) {
  Config config;
  config.name = "exp";
  config.compare.baseline = "dense";
  config.compare.seeds = {1, 2};
  config.compare.budgets = {{1e12, Unit::flop}, {4e12, Unit::flop}};
  for (char const* arm : {"dense", "mod"}) {
    config.compare.arms.push_back({arm, {}, {}, {}});
    if (!sized) continue;
    for (char const* layers : {"2", "4"})
      config.compare.arms.back().sizes.push_back({std::string("l") + layers, {{"model.layers", layers, "here"}}});
  }
  write_file_atomic(root / "experiment.yaml", to_yaml(config));
}

void write_swept_run(fs::path const& root, std::string const& group, int64_t seed, double loss, Int128 flops) {
  write_run(root, group, seed, {.loss = loss, .train_flops = flops, .routed = group.starts_with("mod")});
}

std::string refusal_of(std::vector<fs::path> const& folders) {
  try {
    read_report(folders);
  } catch (Error const& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("sweep: verdicts at the largest budget, rows of all") {
  Folder const root;
  write_sweep(root.path);
  for (int64_t const seed : {1, 2})
    for (char const* arm : {"dense", "mod"}) {
      double const mine = arm[0] == 'm' ? -0.02 : 0;
      write_swept_run(root.path, std::string(arm) + "/1e12flop/l2", seed, 4.0 + mine + 0.1 * static_cast<double>(seed), 1000000000000);
      write_swept_run(root.path, std::string(arm) + "/4e12flop/l2", seed, 3.0 + mine + 0.1 * static_cast<double>(seed), 4000000000000);
    }
  write_swept_run(root.path, "dense/4e12flop/l4", 1, 2.9, 4000000000000);
  write_swept_run(root.path, "mod/4e12flop/l4", 1, 2.8, 4000000000000);
  Report const report = read_report({root.path});
  CHECK(report.budget == "4e12flop");
  CHECK(report.order == std::vector<std::string>{"dense/l2", "dense/l4", "mod/l2", "mod/l4"});
  REQUIRE(report.arms.size() == 4);
  CHECK(report.arms[0].name == "dense/l2");
  CHECK(report.arms[0].train_flops == Int128(4000000000000));
  CHECK(report.challenger == "mod/l2");
  CHECK(report.best_dense == "dense/l2");
  REQUIRE(report.sweep.size() == 6);
  SweepRow const& first = report.sweep.front();
  CHECK(first.family == "dense");
  CHECK(first.size == "l2");
  CHECK(first.budget == "1e12flop");
  CHECK(first.seeds == std::vector<int64_t>{1, 2});
  CHECK(std::abs(first.loss.mean - 4.15) < 1e-9);
  CHECK(std::abs(first.losses[1] - 4.2) < 1e-9);
  CHECK(first.train_flops == Int128(1000000000000));
  CHECK(report.incomplete.size() == 16 - 10);
  CHECK(report.pair("mod/l4", "dense/l4", "flops") != nullptr);  // the baseline in its size
  CHECK(report.pair("mod/l2", "dense/l4", "flops") == nullptr);
  CHECK(report.incomplete.front() == "dense/1e12flop/l4/seed-1: not started");
  CHECK(std::count(report.warnings.begin(), report.warnings.end(),
                   "verdicts and tables are about the largest of 2 budgets, 4e12flop a run") == 1);
  auto const json = report_json(report, root.path);
  CHECK(json["budget"] == "4e12flop");
  auto const& row = json["sweep"][1];
  CHECK(row["family"] == "mod");
  CHECK(row["losses"].size() == 2);
  CHECK(row["params_non_embedding"] == 700);
  CHECK(std::abs(row["loss_causal"]["mean"].get<double>() - 4.13) < 1e-9);
  CHECK(row["train_flops"] == 1000000000000);
  CHECK(json["arms"][0]["runs"][0]["link"] == "dense/4e12flop/l2/seed-1");
  CHECK(contains(report_table(report), "budget 4e12flop a run"));
  CHECK(contains(report_table(report), "1e12flop"));

  RunList list(root.path);
  list.update();
  CHECK(contains(list.table(), "10 of 16 runs finished"));
  CHECK(contains(list.table(), "mod/4e12flop/l4/seed-2"));
}

TEST_CASE("sweep: without a run of the largest budget there is no verdict, but rows") {
  Folder const root;
  write_sweep(root.path, false);
  write_swept_run(root.path, "dense/1e12flop", 1, 3, 1000000000000);
  Report const report = read_report({root.path});
  CHECK(report.headline == "no run of the largest budget, 4e12flop, has finished yet");
  CHECK(report.sweep.size() == 1);
  CHECK(report.sweep[0].size.empty());
}

TEST_CASE("sweep: a plain comparison has no rows of one") {
  Folder const root;
  write_experiment(root.path, {"dense"}, {1}, "dense");
  write_run(root.path, "dense", 1, {});
  auto const json = report_json(read_report({root.path}), root.path);
  CHECK(json["sweep"].empty());
  CHECK(json["budget"].is_null());
  CHECK(json["tuning"].is_null());
}

TEST_CASE("machines: folders of one experiment are read as one, and what is missing is named") {
  Folder const root;
  for (char const* machine : {"a", "b"}) write_experiment(root.path / machine, {"dense", "mod"}, {1, 2}, "dense");
  write_run(root.path / "a", "dense", 1, {.loss = 3});
  write_run(root.path / "a", "mod", 1, {.loss = 2.9, .status = "stopped", .routed = true});
  write_run(root.path / "b", "mod", 1, {.loss = 2.8, .routed = true});
  Report const report = read_report({root.path / "a", root.path / "b"});
  REQUIRE(report.arms.size() == 2);
  CHECK(report.arms[1].runs[0].folder == root.path / "b/mod/seed-1");  // the finished one
  CHECK(report.incomplete == std::vector<std::string>{"dense/seed-2: not started", "mod/seed-2: not started"});

  // The same run twice: a copy is one run, another one is refused with both paths.
  fs::create_directories(root.path / "b/dense");
  fs::copy(root.path / "a/dense/seed-1", root.path / "b/dense/seed-1", fs::copy_options::recursive);
  CHECK(read_report({root.path / "a", root.path / "b"}).arms[0].runs.size() == 1);
  write_run(root.path / "b", "dense", 1, {.loss = 3.001});
  std::string const why = refusal_of({root.path / "a", root.path / "b"});
  CHECK(contains(why, "two folders hold the run dense/seed-1"));
  CHECK(contains(why, (root.path / "a/dense/seed-1").string()));
  CHECK(contains(why, (root.path / "b/dense/seed-1").string()));
}

TEST_CASE("machines: seeds may be divided, other experiments are refused") {
  Folder const root;
  write_experiment(root.path / "a", {"dense"}, {1}, "dense");
  write_experiment(root.path / "b", {"dense"}, {2}, "dense");
  write_experiment(root.path / "c", {"dense", "mod"}, {1}, "dense");
  write_run(root.path / "a", "dense", 1, {});
  write_run(root.path / "b", "dense", 2, {});
  CHECK(read_report({root.path / "a", root.path / "b"}).arms[0].runs.size() == 2);
  CHECK(contains(refusal_of({root.path / "a", root.path / "c"}), "hold different experiments:\n  compare.arms"));
  CHECK(contains(refusal_of({root.path / "a", root.path / "b/dense/seed-2"}), "a report is of experiments or of single runs"));
}

TEST_CASE("machines: different processors are named") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1}, "dense");
  write_run(root.path, "dense", 1, {});
  write_run(root.path, "mod", 1, {.routed = true});
  auto const warns = [&](std::string const& part) {
    for (std::string const& warning : read_report({root.path}).warnings)
      if (contains(warning, part)) return true;
    return false;
  };
  CHECK_FALSE(warns("runs come from different"));
  auto const environment = [&](char const* arm, json const& keys) {
    write_file_atomic(root.path / arm / "seed-1/environment.json", keys.dump());
  };
  environment("dense", {{"cpu", "Zen 5"}, {"libtorch", "2.11.0"}});
  environment("mod", {{"cpu", "Zen 4"}, {"libtorch", "2.10.0"}});
  CHECK(warns("runs come from different processors: Zen 4 (mod seed 1); Zen 5 (dense seed 1)"));
  CHECK(warns("runs come from different versions of LibTorch: 2.10.0 (mod seed 1); 2.11.0 (dense seed 1)"));
}

TEST_CASE("tuning: trials, choice and cost stand in the report") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1}, "dense");
  write_run(root.path, "dense", 1, {});
  write_run(root.path, "mod", 1, {.routed = true});
  Tuning tuning;
  tuning.arms.push_back(
      {"dense",
       {{"lr-1e-3", {{"train.lr", "1e-3"}}, {3.5}, 100000000000}, {"lr-2e-3", {{"train.lr", "2e-3"}}, {3.25}, 100000000000}},
       1,
       {{"train.lr", "2e-3", true}}});
  tuning.choice_of = {{"mod", "dense"}};
  write_file_atomic(root.path / "tune.json", tuning_json(tuning).dump());
  Report const report = read_report({root.path});
  auto const json = report_json(report, root.path)["tuning"];
  CHECK(json["trials"] == 2);
  CHECK(json["train_flops"] == 200000000000);
  CHECK(std::abs(json["share_of_train_flops"].get<double>() - 0.2 / 2.2) < 1e-12);
  CHECK(json["arms"][0]["chosen"] == "lr-2e-3");
  CHECK(json["arms"][0]["trials"][0]["loss_causal"] == 3.5);
  CHECK(json["arms"][0]["edges"][0]["side"] == "largest");
  CHECK(contains(report.warnings.back(), "dense: the best train.lr, 2e-3, is the largest tried"));
  std::string const table = report_table(report);
  CHECK(contains(table, "train.lr 2e-3"));
  CHECK(contains(table, "mod takes the choice of dense"));
  CHECK(contains(table, "9.1 % of the whole"));
  write_file_atomic(root.path / "tune.json", "{}");
  CHECK(contains(refusal_of({root.path}), "holds no tuning"));
}
