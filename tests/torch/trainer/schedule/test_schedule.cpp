#include "trainer/schedule/schedule.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "core/error.h"

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
