// What `isobath runs` and `isobath watch` say of run folders and experiments.
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <fstream>

#include "core/error.h"
#include "tests/fast/report_runs.h"
#include "trainer/report/run_list.h"

using namespace isobath;

namespace {

RunList listed(fs::path const& folder) {
  RunList list(folder);
  list.update();
  return list;
}

}  // namespace

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
  RunList const list = listed(root.path / "");
  REQUIRE(list.groups().size() == 1);
  CHECK(list.groups()[0].heading.empty());
  auto const& runs = list.groups()[0].runs;
  REQUIRE(runs.size() == 3);
  CHECK(runs[0].name == "dense/seed-1");
  CHECK(runs[0].status.state == "finished");
  CHECK(runs[0].status.step == 1000);
  CHECK(runs[0].status.planned_steps == 1000);
  CHECK(std::abs(runs[0].status.causal_loss - 3.0) < 1e-9);
  CHECK(runs[1].status.state == "running");
  CHECK(runs[1].status.step == 7);
  CHECK(runs[1].status.train_loss == 4.5);
  CHECK(std::isnan(runs[1].status.causal_loss));
  CHECK(runs[2].status.state == "diverged");
  CHECK(list.is_anything_running());
  CHECK(contains(list.table(), "7/50"));
  CHECK_FALSE(contains(list.table(), "nan"));
  CHECK_THROWS_AS(RunList(root.path / "nowhere"), Error);
}

TEST_CASE("runs: a process that died without an end is told apart from one that runs") {
  Folder const root;
  fs::create_directories(root.path / "a");
  std::ofstream(root.path / "a/metrics.jsonl") << json{{"kind", "run"}, {"steps", 50}} << "\n";
  std::ofstream(root.path / "a/.lock");
  RunList list = listed(root.path);
  CHECK(list.groups()[0].runs[0].status.state == "broken off");
  CHECK_FALSE(list.is_anything_running());
  {
    FileLock const held(root.path / "a/.lock");
    list.update();
    CHECK(list.groups()[0].runs[0].status.state == "running");
    CHECK(list.is_anything_running());
  }
  list.update();
  CHECK_FALSE(list.is_anything_running());
  CHECK(listed(root.path / "a").groups()[0].runs[0].status.state == "broken off");  // a run folder itself
}

TEST_CASE("runs: an experiment lists the runs that have not begun, and counts the finished ones") {
  Folder const root;
  fs::path const pair = root.path / "pair";
  write_run(root.path, "alone", 1, {});
  write_run(pair, "dense", 1, {});
  write_experiment(pair, {"dense", "mod"}, {1, 2}, "dense");
  RunList list = listed(root.path);
  REQUIRE(list.groups().size() == 2);
  CHECK(list.groups()[0].runs[0].name == "alone/seed-1");
  CHECK(list.groups()[1].heading == "pair: 1 of 4 runs finished");
  auto const& runs = list.groups()[1].runs;
  REQUIRE(runs.size() == 4);
  CHECK(runs[0].name == "pair/dense/seed-1");
  CHECK(runs[1].status.state == "not started");
  CHECK_FALSE(list.is_anything_running());
  std::string const table = list.table();
  CHECK(table.find("alone/seed-1") < table.find("pair: 1 of 4"));
  CHECK(table.find("pair: 1 of 4") < table.find("pair/dense/seed-1"));

  // Between two runs nothing but the lock of `compare` says that more will come.
  FileLock const comparing(pair / ".lock");
  RunList own = listed(pair);
  CHECK(own.is_anything_running());
  CHECK(contains(own.groups()[0].heading, "1 of 4 runs finished; compare is at work"));
  for (std::string const arm : {"dense", "mod"})
    for (int64_t const seed : {1, 2}) write_run(pair, arm, seed, {});
  own.update();
  CHECK(contains(own.groups()[0].heading, "4 of 4 runs finished; compare measures decoding"));
}

TEST_CASE("runs: a folder that is taken for a run is answered with the runs in it") {
  Folder const root;
  CHECK(hint_at_runs(root.path).empty());
  for (int seed = 1; seed <= 5; ++seed) write_run(root.path, "dense", seed, {});
  std::string const hint = hint_at_runs(root.path);
  CHECK(contains(hint, (root.path / "dense/seed-1").string() + ", "));
  CHECK(contains(hint, "and 2 more"));
  CHECK(contains(hint, "isobath runs " + root.path.string()));
}
