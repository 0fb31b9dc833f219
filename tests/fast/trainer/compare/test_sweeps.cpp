// Budgets, sizes and shards of an experiment; devices that its runs are handed round over.
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "model/ledger/ledger.h"
#include "tests/fast/scratch.h"
#include "trainer/compare/arms.h"
#include "trainer/compare/shard.h"

using namespace isobath;

namespace {

constexpr char const* swept = R"(name: exp
data: {sources: [text.txt]}
tokenizer: {kind: byte}
model: {layers: 4, width: 64, context: 128}
train: {batch_tokens: 512}
compare:
  baseline: dense
  seeds: [1, 2]
  budgets: [2e11flop, 1e11flop]
  arms:
    dense: {size: {small: {model.layers: 2}, large: {model.layers: 4}}}
    mod:
      set: {depth: {kind: mod, capacity: 12.5%}}
      size: {small: {model.layers: 3}, large: {model.layers: 6}}
      match: {forward_flops_of: dense, adjust: mlp_width}
)";

std::vector<ExperimentRun> swept_runs(Scratch const& scratch, std::vector<std::string> overrides = {}) {
  overrides.push_back("run_dir=" + (scratch / "runs").string());
  return resolve_runs(load_config(scratch.write("exp.yaml", swept), overrides), [](Config const&) { return int64_t{257}; });
}

double forward_flops(Config const& c) { return static_cast<double>(planned_forward_flops(c.model, c.depth, 257, 1, c.model.context)); }

}  // namespace

TEST_CASE("sweep: each run has its budget and size, and is matched to the other arm's model of the same size") {
  Scratch const scratch;
  auto const runs = swept_runs(scratch);
  REQUIRE(runs.size() == 16);
  CHECK(runs[0].label() == "dense/1e11flop/small/seed-1");
  CHECK(runs[3].label() == "mod/1e11flop/large/seed-1");
  CHECK(runs[4].label() == "dense/2e11flop/small/seed-1");
  CHECK(runs[3].folder == scratch.path() / "runs/exp/mod/1e11flop/large/seed-1");
  CHECK(runs[3].config.train.budget == Duration{1e11, Unit::flop});
  CHECK(runs[3].config.model.layers == 6);
  for (size_t const size : {0u, 1u}) {
    CHECK(std::abs(forward_flops(runs[2 + size].config) / forward_flops(runs[size].config) - 1) <= 0.005);
    CHECK(runs[size].config.model.layers == (size == 0 ? 2 : 4));
  }
}

TEST_CASE("sweep: a plan has a table for each budget") {
  Scratch const scratch;
  DataSize const data{1e8, 2e4, true, "test"};
  std::vector<ArmPlan> plans;
  for (ExperimentRun const& run : swept_runs(scratch))
    if (run.seed == 1) plans.push_back(plan_arm(run.family(), run.config, 257, data, 512));
  std::string const table = plan_table(plans, data);
  CHECK(table.starts_with("budget 1e11flop\n"));
  CHECK(table.find("\nbudget 2e11flop\n") != std::string::npos);
  CHECK(table.find("mod/large") != std::string::npos);
  CHECK(plan_table({plans[0]}, data).find("budget") == std::string::npos);
}

TEST_CASE("shards: every run belongs to exactly one") {
  Scratch const scratch;
  auto const runs = swept_runs(scratch);
  for (int64_t const count : {1, 2, 3, 5, 16, 20}) {
    std::map<std::string, int> times;
    size_t most = 0, least = runs.size();
    for (int64_t index = 1; index <= count; ++index) {
      auto const mine = of_shard(runs, {index, count});
      for (ExperimentRun const& run : mine) ++times[run.label()];
      most = std::max(most, mine.size());
      least = std::min(least, mine.size());
    }
    CHECK(times.size() == runs.size());
    for (auto const& [label, n] : times) CHECK(n == 1);
    CHECK(most - least <= 1);
  }
}

TEST_CASE("shards: written as i/n") {
  CHECK(parse_shard("2/4").index == 2);
  CHECK(parse_shard("2/4").count == 4);
  CHECK(parse_shard("1/1").is_all());
  for (char const* wrong : {"", "2", "0/4", "5/4", "2/", "/4", "a/4", "2/4/1", "-1/4", "1/0"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(parse_shard(wrong), Error);
  }
}

TEST_CASE("shards: others may run beside one, the same one and the whole experiment may not") {
  Scratch const scratch;
  fs::path const folder = scratch / "exp";
  {
    ExperimentLock const second(folder, {2, 4});
    CHECK_NOTHROW(ExperimentLock(folder, {3, 4}));
    CHECK_THROWS_AS(ExperimentLock(folder, {2, 4}), Error);
    CHECK_THROWS_AS(ExperimentLock(folder, {1, 3}), Error);  // it would share runs with 2/4
    CHECK_THROWS_AS(ExperimentLock(folder, {}), Error);
    CHECK(is_locked(folder / ".lock"));
  }
  CHECK_NOTHROW(ExperimentLock(folder, {1, 3}));
  ExperimentLock const all(folder, {});
  CHECK_THROWS_AS(ExperimentLock(folder, {2, 4}), Error);
}

TEST_CASE("devices: runs that run at the same time are on different ones") {
  Scratch const scratch;
  auto const runs = swept_runs(scratch, {"compare.devices=[cuda:0, cuda:1]", "compare.budgets=none", "compare.seeds=[1]"});
  REQUIRE(runs.size() == 4);
  CHECK(runs[0].config.device == "cuda:0");
  fs::path const script =
      scratch.write("stand-in.sh",
                    "#!/bin/sh\nRUN=$(dirname \"$2\")\nDEVICE=$(sed -n 's/^device: *//p' \"$2\" | tr -d '\"')\n"
                    "mkdir \"" +
                        scratch.path().string() + "/busy-$DEVICE\" || exit 1\nsleep 0.3\nrmdir \"" + scratch.path().string() +
                        "/busy-$DEVICE\"\necho \"$DEVICE\" > \"$RUN/device\"\n"
                        "echo '{\"kind\":\"end\",\"status\":\"finished\",\"step\":5}' >> \"$RUN/metrics.jsonl\"\n");
  chmod(script.c_str(), 0755);
  ExperimentSettings settings;
  settings.executable = script;
  settings.jobs = 2;
  settings.devices = {"cuda:0", "cuda:1"};
  for (FailedRun const& run : run_experiment(runs, settings)) FAIL(run.label << ": " << run.last_lines);
  std::set<std::string> used;
  for (ExperimentRun const& run : runs) {
    used.insert(read_file(run.folder / "device"));
    CHECK(is_finished(run));
  }
  CHECK(used == std::set<std::string>{"cuda:0\n", "cuda:1\n"});
}

TEST_CASE("devices: one run each at a time, with its share of the cores") {
  CompareConfig compare;
  CHECK(compare.runs_at_a_time() == 1);
  compare.devices = {"cpu"};
  CHECK(compare.runs_at_a_time() == 1);
  compare.devices.assign(5000, "cpu");
  int64_t const cores = compare.runs_at_a_time();  // no more than there are
  CHECK(cores >= 1);
  CHECK(cores < 5000);
  compare.jobs = 7;
  CHECK(compare.runs_at_a_time() == 7);
  Scratch const scratch;
  CHECK(swept_runs(scratch, {"compare.jobs=1000"}).front().config.train.threads == 1);
  CHECK(swept_runs(scratch, {"compare.jobs=1000", "train.threads=3"}).front().config.train.threads == 3);
}
