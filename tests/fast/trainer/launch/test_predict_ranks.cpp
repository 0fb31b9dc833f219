#include "trainer/launch/predict_ranks.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "core/error.h"

using namespace isobath;

namespace {

// 8 layers of width 1024, 64 sequences a batch.
ArmPlan large_plan(Sharding shard = Sharding::none) {
  Config config;
  config.model.layers = 8;
  config.model.width = 1024;
  config.model.heads = config.model.kv_heads = 16;
  config.model.context = 1024;
  config.train.batch_tokens = 65536;
  config.parallel.shard = shard;
  return plan_arm("large", config, 32000, {1e9, 1e7, true, "", {}}, 8192);
}

RankDevice device_of(double flops, bool beside = true) { return {"some", flops, 0, beside}; }

}  // namespace

TEST_CASE("predict ranks: one alone waits for nobody and computes at its speed") {
  ArmPlan const plan = large_plan();
  RankPrediction const alone = predict_ranks(plan, 1, device_of(1e14), {1e9, 1e-3});
  CHECK(alone.step_s() == Catch::Approx(static_cast<double>(plan.step_flops) / 1e14));
  CHECK(alone.exposed_s == 0);
  CHECK(alone.sent_bytes == 0);
  CHECK(alone.efficiency == Catch::Approx(1));
  CHECK(alone.memory_bytes == Catch::Approx(16.0 * static_cast<double>(plan.parameters.total) + plan.memory.activations));
}

TEST_CASE("predict ranks: two measured sizes predict a third") {
  auto const measured = [](int64_t width) {
    Config config = large_plan().config;
    config.model.width = width;
    double const flops = 1e9 * static_cast<double>(width * width);
    return MeasuredStep{config, flops, flops / 2e12 + 65536.0 * 8 * static_cast<double>(width) * 3e-10};
  };
  MeasuredStep const narrow = measured(256), middle = measured(512), wide = measured(1024);
  CHECK(measured_device("", {narrow, wide}).step_seconds(middle.flops, middle.config) == Catch::Approx(middle.seconds));
  CHECK(measured_device("", {narrow, wide}).flops_per_s == Catch::Approx(2e12));
  CHECK(measured_device("", {narrow}).step_seconds(2 * narrow.flops, narrow.config) == Catch::Approx(2 * narrow.seconds));
  CHECK_THROWS_AS(measured_device("", {narrow, narrow}), Error);
}

TEST_CASE("predict ranks: without latency on an endless network the work is divided and nothing waits") {
  for (int64_t const ranks : {2, 8, 64}) {
    RankPrediction const p = predict_ranks(large_plan(), ranks, device_of(1e14), {1e30, 0});
    CHECK(p.efficiency == Catch::Approx(1));
    CHECK(p.exposed_s == Catch::Approx(0).margin(1e-12));
  }
}

TEST_CASE("predict ranks: what cannot hide waits for as long as it is sent") {
  ArmPlan const plan = large_plan();
  double const bytes = 4.0 * static_cast<double>(plan.parameters.total);
  // Gloo's threads take the cores that compute: all of it counts. A ring of 2 sends each byte once.
  RankPrediction const p = predict_ranks(plan, 2, device_of(1e14, false), {1e9, 0});
  CHECK(p.exposed_s == Catch::Approx(bytes / 1e9));
  CHECK(p.sent_bytes == Catch::Approx(bytes));
  // On so slow a network nearly all communication is exposed.
  RankPrediction const slow = predict_ranks(plan, 2, device_of(1e20), {1e9, 0});
  CHECK(slow.exposed_s == Catch::Approx(bytes / 1e9).epsilon(1e-3));
  // And the last bucket, which holds the embedding, is never hidden.
  RankPrediction const fast = predict_ranks(plan, 2, device_of(1e12), {1e12, 0});
  CHECK(fast.exposed_s > 0);
  CHECK(fast.exposed_s < 0.5 * bytes / 1e12);
}

TEST_CASE("predict ranks: more bandwidth, less latency and fewer ranks never wait longer") {
  ArmPlan const plan = large_plan();
  for (double const flops : {1e13, 1e15})
    for (int64_t ranks = 2; ranks <= 32; ranks *= 2) {
      double const waits = predict_ranks(plan, ranks, device_of(flops), {1e10, 1e-5}).exposed_s;
      CHECK(predict_ranks(plan, ranks, device_of(flops), {2e10, 1e-5}).exposed_s <= waits);
      CHECK(predict_ranks(plan, ranks, device_of(flops), {1e10, 1e-6}).exposed_s <= waits);
      CHECK(predict_ranks(plan, 2 * ranks, device_of(flops), {1e10, 1e-5}).efficiency <=
            predict_ranks(plan, ranks, device_of(flops), {1e10, 1e-5}).efficiency);
    }
}

TEST_CASE("predict ranks: a divided optimizer takes less memory and one more passage of the weights") {
  ArmPlan const plan = large_plan(), divided = large_plan(Sharding::optimizer);
  auto const weights = static_cast<double>(plan.parameters.total);
  RankPrediction const whole = predict_ranks(plan, 8, device_of(1e14), {1e10, 0}),
                       part = predict_ranks(divided, 8, device_of(1e14), {1e10, 0});
  CHECK(whole.memory_bytes - part.memory_bytes == Catch::Approx(weights * (8 - 12.0 / 8)));
  CHECK(part.sent_bytes == Catch::Approx(whole.sent_bytes));
}

TEST_CASE("predict ranks: a batch whose sequences the ranks do not divide is as slow as the largest share") {
  RankPrediction const p = predict_ranks(large_plan(), 48, device_of(1e14), {1e30, 0});  // 64 sequences: 2 each for some
  CHECK(p.efficiency == Catch::Approx(64.0 / 96));
  std::vector<RankPrediction> const all = predict_up_to(large_plan(), 1024, device_of(1e14), {1e10, 1e-6});
  CHECK(all.back().ranks == 64);
  CHECK(all.size() == 7);
}

TEST_CASE("predict ranks: rates and times as people write them") {
  CHECK(parse_rate("50GB/s") == 50e9);
  CHECK(parse_rate("100Gbit/s") == 12.5e9);
  CHECK(parse_latency("5us") == Catch::Approx(5e-6));
  CHECK(parse_latency("1.5ms") == Catch::Approx(1.5e-3));
  for (char const* text : {"", "50", "GB/s", "-1GB/s", "50GB", "0GB/s", "nanGB/s", "infGB/s"}) {
    INFO(text);
    CHECK_THROWS_AS(parse_rate(text), Error);
  }
  for (char const* text : {"5", "us", "-5us", "5 us"}) CHECK_THROWS_AS(parse_latency(text), Error);
  CHECK(known_device("h100", Precision::bf16, 0.4).flops_per_s == Catch::Approx(0.4 * 989.4e12));
  CHECK_THROWS_AS(known_device("abacus", Precision::bf16, 0.4), Error);
}
