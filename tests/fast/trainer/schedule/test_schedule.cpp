#include "trainer/schedule/schedule.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>

#include "core/error.h"
#include "core/units.h"
#include "model/ledger/ledger.h"

using namespace isobath;

namespace {

TrainConfig hundred_steps() {
  TrainConfig train;
  train.budget = {100, Unit::step};
  train.batch_tokens = 1000;
  train.lr = 1;
  train.min_lr = 0.1;
  train.warmup = {10, Unit::percent};
  train.decay = {20, Unit::percent};
  return train;
}

}  // namespace

TEST_CASE("a budget in any unit becomes the nearest number of steps, at least one") {
  TrainConfig train = hundred_steps();
  auto const steps = [&](double amount, Unit unit) {
    train.budget = {amount, unit};
    return Schedule(train, 500, 12.5).total_steps();
  };
  CHECK(steps(7, Unit::step) == 7);
  CHECK(steps(20'400, Unit::token) == 20);
  CHECK(steps(20'600, Unit::token) == 21);
  CHECK(steps(2, Unit::epoch) == 25);
  CHECK(steps(5'240, Unit::flop) == 10);
  CHECK(steps(5'260, Unit::flop) == 11);
  CHECK(steps(1, Unit::flop) == 1);
}

TEST_CASE("a budget that cannot be counted is refused, not wrapped around") {
  TrainConfig train = hundred_steps();
  for (Duration const budget :
       {Duration{1e30, Unit::flop}, Duration{1e19, Unit::flop}, Duration{1e18, Unit::step}, Duration{1e300, Unit::epoch}}) {
    train.budget = budget;
    CHECK_THROWS_AS(Schedule(train, 500, 12.5), Error);
  }
  train.budget = {4e18, Unit::flop};
  CHECK(Schedule(train, 500, 12.5).total_flops() == 4'000'000'000'000'000'000);
}

TEST_CASE("FLOPs are counted exactly far beyond 64 bits") {
  TrainConfig train = hundred_steps();
  train.batch_tokens = 1 << 20;
  train.budget = *parse_duration("1e24flop");
  int64_t const step = 6'000'000'000'000'007;
  Schedule const schedule(train, step, 1);
  Int128 const total = schedule.total_flops();
  CHECK(schedule.total_steps() == 166'666'667);  // 1e24 / step is 166666666.67
  CHECK(to_text(total) == "1000000002000001166666669");
  CHECK(total == Int128(166'666'667) * step);
  CHECK_FALSE(schedule.finished(166'666'666, total - step));
  CHECK_FALSE(schedule.finished(166'666'666, total - step / 2 - 1));
  CHECK(schedule.finished(166'666'666, total - step / 2));
  CHECK(schedule.progress(1, total / 4) == Catch::Approx(0.25));
}

TEST_CASE("a budget in FLOPs of steps that differ is counted exactly") {
  TrainConfig train = hundred_steps();
  train.batch_tokens = 1 << 20;
  train.budget = *parse_duration("1e24flop");
  int64_t const small = 1'000'000'000'000'000'000, large = 4'000'000'000'000'000'001;
  auto const cost = [&](int64_t step, double) { return step % 2 == 0 ? small : large; };
  Schedule const schedule(train, cost, 1);
  CHECK(to_text(schedule.total_flops()) == "1000000000000000000000000");
  CHECK(schedule.total_steps() == 400'000);
  CHECK(schedule.mean_step_flops() == 2'500'000'000'000'000'000);
  train.budget = {400'001, Unit::step};
  CHECK(to_text(Schedule(train, cost, 1).total_flops()) == "1000001000000000000200000");
}

TEST_CASE("one step of more FLOPs than 64 bits hold is refused by its value") {
  Config config;
  config.train.budget = {10, Unit::step};
  config.train.batch_tokens = config.model.context << 40;
  Int128 const step = Int128(planned_train_flops(config.model, config.depth, 257, 1, config.model.context)) * (int64_t{1} << 40);
  try {
    make_schedule(config, 257, 1);
    FAIL("not refused");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::config);
    CHECK_THAT(error.what(), Catch::Matchers::ContainsSubstring(to_text(step)) && Catch::Matchers::ContainsSubstring("train.batch_tokens"));
  }
}

TEST_CASE("warm-up rises linearly, cosine falls to min_lr and never rises") {
  Schedule const schedule(hundred_steps(), 500, 1);
  CHECK(schedule.next_learning_rate(0, 0) == Catch::Approx(0.1));
  CHECK(schedule.next_learning_rate(4, 0) == Catch::Approx(0.5));
  CHECK(schedule.next_learning_rate(9, 0) == Catch::Approx(1.0));
  CHECK(schedule.next_learning_rate(99, 0) == Catch::Approx(0.1));
  for (int step = 10; step < 99; ++step) CHECK(schedule.next_learning_rate(step + 1, 0) < schedule.next_learning_rate(step, 0));
  CHECK(schedule.learning_rate(0.55) == Catch::Approx(0.55));  // half way down: the mean of 1 and 0.1
}

TEST_CASE("wsd is flat, then falls linearly over its last part") {
  TrainConfig train = hundred_steps();
  train.schedule = "wsd";
  Schedule const schedule(train, 500, 1);
  CHECK(schedule.learning_rate(0.2) == 1);
  CHECK(schedule.learning_rate(0.8) == 1);
  CHECK(schedule.learning_rate(0.9) == Catch::Approx(0.55));
  CHECK(schedule.learning_rate(1.0) == Catch::Approx(0.1));
}

TEST_CASE("a budget in FLOPs is spent by realised FLOPs") {
  TrainConfig train = hundred_steps();
  train.budget = {5000, Unit::flop};
  Schedule const schedule(train, 500, 1);
  CHECK(schedule.progress(3, 2500) == Catch::Approx(0.5));  // not 0.3
  CHECK_FALSE(schedule.finished(10, 4500));
  CHECK(schedule.finished(9, 4800));  // another step would overshoot by more than is missing
}

TEST_CASE("what is due every 25 % happens four times, the last time at the end") {
  for (int64_t total : {4, 8, 10, 37, 1000}) {
    TrainConfig train = hundred_steps();
    train.budget = {static_cast<double>(total), Unit::step};
    Schedule const schedule(train, 500, 1);
    int times = 0;
    for (int64_t step = 0; step <= total; ++step) times += schedule.due(step, {25, Unit::percent});
    CHECK(times == 4);
    CHECK(schedule.due(total, {25, Unit::percent}));
    CHECK_FALSE(schedule.due(0, {25, Unit::percent}));
    CHECK_FALSE(schedule.due(total, {0, Unit::step}));
  }
}
