// Capacity of each layer and of each step, and the schedule of a run whose steps differ.

#include "model/depth/plan.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "core/error.h"
#include "model/ledger/ledger.h"
#include "trainer/schedule/schedule.h"

using namespace isobath;

namespace {

ModelConfig layers(int64_t count) {
  ModelConfig model;
  model.layers = count;
  return model;
}

DepthConfig every_other(std::vector<double> const& capacity) {
  DepthConfig depth;
  depth.kind = "mod";
  depth.capacity = capacity;
  return depth;
}

void check_near(std::vector<double> const& found, std::vector<double> const& expected) {
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) CHECK(found[i] == Catch::Approx(expected[i]));
}

Config changing(std::string const& what, Duration const& budget) {
  Config config;
  config.depth = every_other({0.125});
  if (what == "exits") {
    config.depth.kind = "nested";
    config.depth.choice = BranchChoice::expert;
    config.depth.exits = {1, 2};
  }
  if (what != "random") config.depth.capacity_warmup = 0.3;
  if (what == "random" || what == "both") config.depth.capacity_random = {0.0625, 0.75};
  config.train.budget = budget;
  return config;
}

// What training does: every step at the capacity of its moment, until the schedule says that it is over.
struct Spent {
  int64_t steps = 0, flops = 0, last = 0;
};
Spent spend(Config const& config, Schedule const& schedule) {
  Ledger const ledger = make_ledger(config.model, config.depth, 512);
  int64_t const T = config.model.context, B = config.train.batch_tokens / T;
  Spent spent;
  while (!schedule.finished(spent.steps, spent.flops)) {
    auto const capacities =
        plan_depth(config.model, config.depth)
            ->step_capacities(static_cast<uint64_t>(config.seed), spent.steps, schedule.progress(spent.steps, spent.flops));
    spent.last = static_cast<int64_t>(3 * ledger.forward(B, T, ledger.planned_work(capacities, B, T)));
    CHECK(schedule.step_flops(spent.steps, spent.flops) == spent.last);
    spent.flops += spent.last;
    spent.steps += 1;
  }
  return spent;
}

}  // namespace

TEST_CASE("a list of capacities is stretched over the routed layers") {
  check_near(plan_depth(layers(8), every_other({0.25}))->capacities(), {0.25, 0.25, 0.25, 0.25});
  check_near(plan_depth(layers(8), every_other({0.5, 0.125}))->capacities(), {0.5, 0.375, 0.25, 0.125});
  check_near(plan_depth(layers(8), every_other({0.1, 0.2, 0.3, 0.4}))->capacities(), {0.1, 0.2, 0.3, 0.4});
  check_near(plan_depth(layers(10), every_other({0.1, 0.5, 0.2}))->capacities(), {0.1, 0.3, 0.5, 0.35, 0.2});
  check_near(plan_depth(layers(2), every_other({0.5, 0.125}))->capacities(), {0.5});
  CHECK(plan_depth(layers(8), DepthConfig{})->capacities().empty());
  CHECK(capacity_text({0.125}) == "12.5 %");
  CHECK(capacity_text({0.29, 0.1}) == "29 to 10 %");
}

TEST_CASE("every layer's capacity is planned, in FLOPs and in keys and values") {
  ModelConfig const model = layers(4);
  DepthConfig const depth = every_other({0.5, 0.25});
  auto const work = planned_work(model, depth, 3, 128);
  REQUIRE(work.size() == 2);
  CHECK(work[0].rows == 3 * 64);
  CHECK(work[0].pairs == 3 * 64 * 65 / 2);
  CHECK(work[1].rows == 3 * 32);
  CHECK(kv_bytes_per_token(model, depth) == Catch::Approx(kv_bytes_per_token(model, DepthConfig{}) * (2 + 0.5 + 0.25) / 4));
}

TEST_CASE("capacity of a step: falls in the warm-up, is drawn between its bounds, is the same whenever it is asked for") {
  ModelConfig const model = layers(6);
  DepthConfig warm = every_other({0.5, 0.25});
  warm.capacity_warmup = 0.2;
  check_near(plan_depth(model, warm)->step_capacities(1, 0, 0), {1, 1, 1});
  check_near(plan_depth(model, warm)->step_capacities(1, 50, 0.1), {0.75, 0.6875, 0.625});
  check_near(plan_depth(model, warm)->step_capacities(1, 100, 0.2), {0.5, 0.375, 0.25});
  check_near(plan_depth(model, warm)->step_capacities(1, 500, 1), {0.5, 0.375, 0.25});
  check_near(plan_depth(model, warm)->most_capacities(), {1, 1, 1});

  DepthConfig exits;  // of expert choice: shares that go past each exit
  exits.kind = "nested";
  exits.choice = BranchChoice::expert;
  exits.exits = {2, 4};
  exits.capacity_warmup = 0.2;
  check_near(plan_depth(model, exits)->step_capacities(1, 0, 0), {1, 1, 1, 1});
  check_near(plan_depth(model, exits)->step_capacities(1, 50, 0.1), {5.0 / 6, 5.0 / 6, 2.0 / 3, 2.0 / 3});
  check_near(plan_depth(model, exits)->step_capacities(1, 100, 0.2), {2.0 / 3, 2.0 / 3, 1.0 / 3, 1.0 / 3});
  check_near(plan_depth(model, exits)->most_capacities(), {1, 1, 1, 1});
  CHECK(plan_depth(model, exits)->capacity_changes());

  DepthConfig random = every_other({0.125});
  random.capacity_random = {0.05, 0.45};
  check_near(plan_depth(model, random)->most_capacities(), {0.45, 0.45, 0.45});
  double sum = 0, least = 1, most = 0;
  for (int64_t step = 0; step < 2000; ++step) {
    auto const capacities = plan_depth(model, random)->step_capacities(7, step, 0.5);
    CHECK(capacities == std::vector<double>(3, capacities[0]));
    CHECK(capacities == plan_depth(model, random)->step_capacities(7, step, 0.9));
    sum += capacities[0];
    least = std::min(least, capacities[0]);
    most = std::max(most, capacities[0]);
  }
  CHECK(sum / 2000 == Catch::Approx(0.25).margin(0.01));
  CHECK(least >= 0.05);
  CHECK(least < 0.06);
  CHECK(most <= 0.45);
  CHECK(most > 0.44);
  CHECK(plan_depth(model, random)->step_capacities(8, 3, 0.5) != plan_depth(model, random)->step_capacities(7, 3, 0.5));
  CHECK_FALSE(plan_depth(model, every_other({0.5, 0.25}))->capacity_changes());
  CHECK(plan_depth(model, warm)->capacity_changes());
  CHECK(plan_depth(model, random)->capacity_changes());
}

TEST_CASE("a budget in FLOPs is spent to within half a step when steps differ, as planned") {
  for (char const* what : {"warm-up", "random", "both", "exits"}) {
    INFO(what);
    Config const config = changing(what, {2e12, Unit::flop});
    Schedule const schedule = make_schedule(config, 512, 100);
    Spent const spent = spend(config, schedule);
    CHECK(spent.steps == schedule.total_steps());
    CHECK(std::abs(static_cast<double>(spent.flops) - 2e12) <= 0.5 * static_cast<double>(spent.last) + 1);
    CHECK(schedule.mean_step_flops() == spent.flops / spent.steps);
    CHECK(schedule.total_flops() == 2'000'000'000'000);

    Config plain = config;
    plain.depth.capacity_random.clear();
    plain.depth.capacity_warmup = 0;
    CHECK(schedule.total_steps() < make_schedule(plain, 512, 100).total_steps());  // its steps cost less
  }
}

TEST_CASE("a budget in steps is that many steps, whatever they cost") {
  for (char const* what : {"warm-up", "random"}) {
    INFO(what);
    Config const config = changing(what, {173, Unit::step});
    Schedule const schedule = make_schedule(config, 512, 100);
    CHECK(schedule.total_steps() == 173);
    Spent const spent = spend(config, schedule);
    CHECK(spent.steps == 173);
    CHECK(spent.flops == schedule.total_flops());
  }
}

TEST_CASE("more steps of a changing capacity than can be planned are refused, at once") {
  Config const config = changing("random", {1e18, Unit::flop});
  CHECK_THROWS_AS(make_schedule(config, 512, 100), Error);
}
