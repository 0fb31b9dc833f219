// What a step learns must not depend on how its batch is cut into micro-batches, whatever is learned outside the gradient; and a step whose
// gradients are not finite must change nothing.

#include <ATen/ATen.h>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <map>

#include "model/weights.h"
#include "tests/torch/trainer/train/small_training.h"

using namespace isobath;
using namespace isobath::test;

TEST_CASE("micro-batches of 1, 2 and all sequences train the same model", "[micro_batches]") {
  for (DepthCase const& depth_case : depth_cases()) {
    SmallTraining whole(depth_case, 4), halves(depth_case, 2), singles(depth_case, 1);
    for (int64_t step = 0; step < trained_steps; ++step)
      for (SmallTraining* run : {&whole, &halves, &singles}) run->step(step);
    auto const expected = stored_copies(*whole.model), start = stored_copies(*SmallTraining(depth_case, 4).model);
    for (SmallTraining* run : {&halves, &singles})
      for (auto const& [name, tensor] : stored_copies(*run->model)) {
        INFO(depth_case.label << ", micro-batches of " << run->settings.micro_sequences << ": " << name);
        CHECK((tensor - expected.at(name)).abs().max().item<double>() < 1e-9);
      }
    INFO(depth_case.label);
    CHECK_FALSE(expected.at("model.norm.weight").equal(start.at("model.norm.weight")));
    for (char const* moves : {"router.threshold", "depth_gate.price", "depth_scale.threshold", "depth_scale.hardened"})
      for (auto const& [name, tensor] : expected)
        if (name.ends_with(moves) && whole.model->depth_config().scale == ScaleBy::token) CHECK_FALSE(tensor.equal(start.at(name)));
  }
}

TEST_CASE("a step whose gradients are not finite leaves every weight and buffer as it was", "[micro_batches]") {
  for (DepthCase const& depth_case : depth_cases()) {
    SmallTraining run(depth_case, 2);
    bool bad = false;
    at::Tensor norm;
    for (auto const& parameter : run.model->trained())
      if (parameter.name == "model.norm.weight") norm = parameter.tensor;
    norm.register_hook([&](at::Tensor const& gradient) { return bad ? gradient * std::numeric_limits<double>::quiet_NaN() : gradient; });
    for (int64_t step = 0; step < trained_steps / 2 - 1; ++step) run.step(step);
    auto const before = stored_copies(*run.model);
    bad = true;
    run.step(trained_steps / 2 - 1);  // the one after which factors would become skips
    for (auto const& [name, tensor] : stored_copies(*run.model)) {
      if (name.find("predictor.") != std::string::npos) continue;  // their own optimizer, whose gradients were finite
      INFO(depth_case.label << ": " << name);
      CHECK(tensor.equal(before.at(name)));
    }
    CHECK(run.window.skipped.item<double>() == 1);
    bad = false;
    run.step(trained_steps / 2);
    CHECK_FALSE(stored_copies(*run.model).at("model.norm.weight").equal(before.at("model.norm.weight")));
  }
}

TEST_CASE("a predictor whose gradients are not finite is counted", "[micro_batches]") {
  SmallTraining run(depth_cases()[2], 4);
  for (auto const& parameter : run.model->trained())
    if (parameter.role == Role::predictor)
      parameter.tensor.register_hook([](at::Tensor const& gradient) { return gradient * std::numeric_limits<double>::infinity(); });
  auto const before = stored_copies(*run.model);
  for (int64_t step = 0; step < 3; ++step) run.step(step);
  CHECK(run.window.skipped.item<double>() == 0);
  CHECK(run.window.predictor_skipped.item<double>() == 3);
  run.window.clear();
  run.step(3);
  CHECK(run.window.predictor_skipped.item<double>() == 1);
  CHECK(run.window.predictor_streak.item<double>() == 4);
  for (auto const& [name, tensor] : stored_copies(*run.model))
    CHECK(tensor.equal(before.at(name)) == (name.find("predictor.") != std::string::npos || name.ends_with(".router.cut")));
}
