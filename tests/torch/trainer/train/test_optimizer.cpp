#include "trainer/train/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>

using namespace isobath;

namespace {

at::Tensor adam_parameter(std::vector<float> const& values) { return at::tensor(values).requires_grad_(true); }
void set_gradient(at::Tensor& p, std::vector<float> const& values) { p.mutable_grad() = at::tensor(values); }
std::vector<float> adam_values(at::Tensor const& p) {
  at::Tensor const c = p.detach().contiguous();
  return {c.const_data_ptr<float>(), c.const_data_ptr<float>() + c.numel()};
}

// AdamW as its paper writes it, one number at a time.
struct PlainAdamW {
  double m = 0, v = 0;
  int t = 0;
  double update(double p, double g, double lr, double decay, AdamWSettings const& s) {
    ++t;
    m = s.beta1 * m + (1 - s.beta1) * g;
    v = s.beta2 * v + (1 - s.beta2) * g * g;
    double const step = lr * (m / (1 - std::pow(s.beta1, t))) / (std::sqrt(v / (1 - std::pow(s.beta2, t))) + s.eps);
    return p - lr * decay * p - step;
  }
};

}  // namespace

TEST_CASE("AdamW agrees with its definition, with decay, without, and with clipping") {
  AdamWSettings settings;
  settings.clip_norm = 1.0;
  at::Tensor a = adam_parameter({1.0f}), b = adam_parameter({-2.0f});
  AdamW optimizer("x", {{{whole_tensor("a", a)}, 0.1}, {{whole_tensor("b", b)}, 0.0}}, settings);
  PlainAdamW plain_a, plain_b;
  double expected_a = 1, expected_b = -2;
  for (auto const& [ga, gb] : std::vector<std::pair<float, float>>{{0.3f, -0.4f}, {3.0f, 4.0f}, {-0.1f, 0.2f}}) {
    optimizer.zero_grad();
    set_gradient(a, {ga});
    set_gradient(b, {gb});
    optimizer.step(0.01);
    double const norm = std::hypot(ga, gb), scale = norm > 1 ? 1 / norm : 1;
    CHECK(optimizer.grad_norm().item<float>() == Catch::Approx(norm));
    expected_a = plain_a.update(expected_a, ga * scale, 0.01, 0.1, settings);
    expected_b = plain_b.update(expected_b, gb * scale, 0.01, 0.0, settings);
    CHECK(adam_values(a)[0] == Catch::Approx(expected_a).epsilon(1e-5));
    CHECK(adam_values(b)[0] == Catch::Approx(expected_b).epsilon(1e-5));
  }
}

TEST_CASE("a step with a gradient that is not finite changes nothing, not even moments and step count") {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    at::Tensor a = adam_parameter({1, 2}), b = adam_parameter({3});
    AdamW optimizer("x", {{{whole_tensor("a", a), whole_tensor("b", b)}, 0.1}}, {});
    set_gradient(a, {0.1f, 0.2f});
    set_gradient(b, {0.3f});
    optimizer.step(0.01);
    CHECK(optimizer.skipped().item<float>() == 0);
    std::vector<std::vector<float>> before{adam_values(a), adam_values(b)};
    for (TensorPart const& part : optimizer.state()) before.push_back(adam_values(part.values));

    set_gradient(a, {0.1f, bad});
    set_gradient(b, {0.3f});
    optimizer.step(0.01);
    CHECK(optimizer.skipped().item<float>() == 1);
    std::vector<std::vector<float>> after{adam_values(a), adam_values(b)};
    for (TensorPart const& part : optimizer.state()) after.push_back(adam_values(part.values));
    CHECK(before == after);
  }
}

TEST_CASE("an optimizer goes on from its stored state bit for bit") {
  auto const run = [](bool restart) {
    at::Tensor a = adam_parameter({1, 2, 3});
    auto optimizer = std::make_unique<AdamW>("x", std::vector<ParameterGroup>{{{whole_tensor("a", a)}, 0.1}}, AdamWSettings{});
    for (int step = 0; step < 6; ++step) {
      if (restart && step == 3) {
        auto other = std::make_unique<AdamW>("x", std::vector<ParameterGroup>{{{whole_tensor("a", a)}, 0.1}}, AdamWSettings{});
        auto const from = optimizer->state(), to = other->state();
        for (size_t i = 0; i < from.size(); ++i) {
          REQUIRE(from[i].name == to[i].name);
          at::Tensor(to[i].values).copy_(from[i].values);
        }
        optimizer = std::move(other);
      }
      set_gradient(a, {0.1f * static_cast<float>(step), -0.7f, 0.3f});
      optimizer->step(0.01);
    }
    return adam_values(a);
  };
  CHECK(run(true) == run(false));
}

TEST_CASE("a parameter without a gradient is left alone") {
  at::Tensor a = adam_parameter({1}), b = adam_parameter({2});
  AdamW optimizer("x", {{{whole_tensor("a", a), whole_tensor("b", b)}, 0.1}}, {});
  set_gradient(a, {0.5f});
  optimizer.step(0.01);
  CHECK(adam_values(a)[0] != 1);
  CHECK(adam_values(b)[0] == 2);
}
