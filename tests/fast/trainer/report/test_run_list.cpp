// What `isobath runs` says of run folders.
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <fstream>

#include "core/error.h"
#include "tests/fast/report_runs.h"
#include "trainer/report/run_list.h"

using namespace isobath;

TEST_CASE("runs: state, step and last losses of every run below a folder") {
  Folder const root;
  write_run(root.path, "dense", 1, {.loss = 3.0, .start = {{"steps", 1000}}});
  write_run(root.path, "mod", 1, {.status = "diverged", .routed = true});
  fs::create_directories(root.path / "fresh");
  std::ofstream(root.path / "fresh/metrics.jsonl")
      << json{{"kind", "run"}, {"steps", 50}, {"step", 0}} << "\n"
      << json{{"kind", "train"}, {"step", 7}, {"train_loss", 4.5}, {"tokens_per_s", 2000}} << "\n"
      << "{\"kind\":\"tra";  // being written
  FileLock const held(root.path / "fresh/.lock");
  auto const runs = list_runs(root.path);
  REQUIRE(runs.size() == 3);
  CHECK(runs[0].name == "dense/seed-1");
  CHECK(runs[0].state == "finished");
  CHECK(runs[0].step == 1000);
  CHECK(runs[0].planned_steps == 1000);
  CHECK(std::abs(runs[0].causal_loss - 3.0) < 1e-9);
  CHECK(runs[1].state == "running");
  CHECK(runs[1].step == 7);
  CHECK(runs[1].train_loss == 4.5);
  CHECK(std::isnan(runs[1].causal_loss));
  CHECK(runs[2].state == "diverged");
  std::string const table = run_table(runs);
  CHECK(contains(table, "7/50"));
  CHECK_FALSE(contains(table, "nan"));
  CHECK_THROWS_AS(list_runs(root.path / "nowhere"), Error);
}

TEST_CASE("runs: a process that died without an end is told apart from one that runs") {
  Folder const root;
  fs::create_directories(root.path / "a");
  std::ofstream(root.path / "a/metrics.jsonl") << json{{"kind", "run"}, {"steps", 50}} << "\n";
  std::ofstream(root.path / "a/.lock");
  CHECK(list_runs(root.path)[0].state == "broken off");
  {
    FileLock const held(root.path / "a/.lock");
    CHECK(is_locked(root.path / "a/.lock"));
    CHECK(list_runs(root.path)[0].state == "running");
  }
  CHECK_FALSE(is_locked(root.path / "a/.lock"));
  CHECK(list_runs(root.path / "a")[0].state == "broken off");  // a run folder itself
}
