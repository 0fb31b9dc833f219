// A run is followed while it writes, stops, and is resumed.
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "tests/fast/report_runs.h"
#include "trainer/report/run_progress.h"

using namespace isobath;

namespace {

// A run folder whose metrics.jsonl grows.
struct GrowingRun {
  Scratch scratch;
  fs::path const file = scratch / "metrics.jsonl";

  void add(std::string const& text) const { std::ofstream(file, std::ios::app) << text; }
  void add(json const& record) const { add(record.dump() + "\n"); }
  void start(int64_t steps = 100) const { add(json{{"kind", "run"}, {"step", 0}, {"steps", steps}}); }
  void train(int64_t step, double loss) const {
    add(json{{"kind", "train"},
             {"step", step},
             {"train_loss", loss},
             {"tokens_per_s", 1e3},
             {"time_s", step / 10.0},
             {"train_flops_total", step * 1000}});
  }
  void validate(int64_t step, double loss, bool final = false) const {
    add(json{{"kind", "validation"}, {"step", step}, {"final", final}, {"loss_causal", loss}, {"eval_tokens", 512}, {"eval_s", 1.0}});
  }
};

}  // namespace

TEST_CASE("run progress: each record counts once, however often the file is read") {
  GrowingRun const run;
  RunProgress progress(run.scratch.path());
  CHECK(progress.update().state == "not started");
  run.start();
  run.train(10, 4.5);
  run.validate(10, 4.0);
  progress.update();
  RunStatus now = progress.update();
  CHECK(now.state == "broken off");  // nobody holds the lock, and no end is recorded
  CHECK(now.step == 10);
  CHECK(now.planned_steps == 100);
  CHECK(now.train_loss == 4.5);
  CHECK(now.causal_loss == 4.0);
  CHECK(now.curve_points == 1);
  CHECK(now.eval_seconds == 1);
  CHECK(now.train_flops == 10000);
  CHECK(now.age_s >= 0);
  run.train(100, 3.5);
  run.validate(100, 3.0);
  run.validate(100, 2.5, true);
  now = progress.update();
  CHECK(now.curve_points == 2);
  CHECK(now.results == 1);
  CHECK(now.causal_loss == 2.5);
  CHECK(now.percent_of_steps() == 99);  // it has not ended
  run.add(json{{"kind", "end"}, {"status", "finished"}, {"step", 100}, {"train_flops_total", "18446744073709551616"}, {"time_s", 10.0}});
  now = progress.update();
  CHECK(now.state == "finished");
  CHECK(now.percent_of_steps() == 100);
  CHECK(now.train_flops == 0x1p64);
}

TEST_CASE("run progress: a line that is being written is read when it is whole") {
  GrowingRun const run;
  RunProgress progress(run.scratch.path());
  run.start();
  run.add(std::string(R"({"kind":"train","step":7,"tr)"));
  CHECK(progress.update().step == 0);
  run.add(std::string(R"(ain_loss":4.5})"));
  CHECK(progress.update().step == 0);  // its line has no end yet
  run.add(std::string("\n"));
  CHECK(progress.update().step == 7);
  CHECK(progress.now().train_loss == 4.5);
  run.add(std::string("{\"kind\":\"tr\n"));  // cut short by a crash; what follows is read
  run.train(9, 4.0);
  CHECK(progress.update().step == 9);
}

TEST_CASE("run progress: a file that a resume cut back, or replaced by a longer one, is read anew") {
  GrowingRun const run;
  RunProgress progress(run.scratch.path());
  run.start();
  std::string const kept = read_file(run.file);
  run.train(50, 3.0);
  run.validate(50, 3.1);
  run.train(60, 2.9);
  REQUIRE(progress.update().step == 60);
  size_t const before = fs::file_size(run.file);

  SECTION("shorter") {
    write_file_atomic(run.file, kept);
    CHECK(progress.update().step == 0);
    CHECK(progress.now().curve_points == 0);
    CHECK(std::isnan(progress.now().causal_loss));
    run.train(20, 3.5);
    CHECK(progress.update().step == 20);
  }
  SECTION("longer") {
    write_file_atomic(run.file, kept);
    for (int step = 1; step <= 20; ++step) run.train(step, 4.0);
    REQUIRE(fs::file_size(run.file) > before);
    CHECK(progress.update().step == 20);
    CHECK(progress.now().curve_points == 0);
    CHECK(progress.now().train_loss == 4.0);
  }
}

TEST_CASE("run progress: the lock says running, the last record how a run has ended") {
  GrowingRun const run;
  RunProgress progress(run.scratch.path());
  {
    FileLock const held(run.scratch / ".lock");
    CHECK(progress.update().state == "running");  // before its first record
    CHECK(std::isnan(progress.now().seconds_left()));
    run.start();
    run.train(20, 3.0);
    run.validate(20, 3.1);
    CHECK(std::abs(progress.update().seconds_left() - 3.0 / 20 * 80) < 1e-9);  // 2 s of training, 1 s of validation
  }
  run.add(json{{"kind", "end"}, {"status", "stopped"}, {"step", 20}});
  CHECK(progress.update().state == "stopped");
  CHECK(std::isnan(progress.now().seconds_left()));
  run.train(30, 3.0);  // goes on, and dies
  CHECK(progress.update().state == "broken off");
}
