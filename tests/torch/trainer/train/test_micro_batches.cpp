// What a step learns must not depend on how its batch is cut into micro-batches, whatever is learned outside the gradient; and a step whose
// gradients are not finite must change nothing.

#include <ATen/ATen.h>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <map>

#include "model/weights.h"
#include "tests/torch/reference.h"
#include "trainer/train/step.h"

using namespace isobath;
using namespace isobath::test;

namespace {

constexpr int64_t steps = 10;  // factors become skips after half of them

struct DepthCase {
  char const* label;
  std::function<void(DepthConfig&)> set;
};

std::vector<DepthCase> depth_cases() {
  auto const mod = [](Causal causal, bool by_threshold = false) {
    return [=](DepthConfig& depth) {
      depth.kind = "mod";
      depth.capacity = {0.25};
      depth.causal = causal;
      depth.threshold_training = by_threshold;
      depth.score_noise = by_threshold ? 0 : 0.3;
      depth.z_loss_weight = 0.01;
    };
  };
  auto const nested = [](BranchChoice choice, GateTraining training, Balance balance) {
    return [=](DepthConfig& depth) {
      depth.kind = "nested";
      depth.exits = {1, 2};
      depth.choice = choice;
      depth.gate_training = training;
      depth.balance = balance;
      depth.mean_depth = 2.2;
    };
  };
  auto const expert = [](Causal causal) {
    return [=](DepthConfig& depth) {
      depth.kind = "nested";
      depth.exits = {1, 2};
      depth.choice = BranchChoice::expert;
      depth.gate = Gate::sigmoid;
      depth.causal = causal;
    };
  };
  auto const scaled = [](ScaleBy scale) {
    return [=](DepthConfig& depth) {
      depth.kind = "scaled";
      depth.scale = scale;
      depth.mean_depth = 2;
      depth.harden_after = 0.5;
    };
  };
  return {
      {"dense", [](DepthConfig&) {}},
      {"mod bce", mod(Causal::bce)},
      {"mod predictor", mod(Causal::predictor)},
      {"mod threshold", mod(Causal::threshold)},
      {"mod none", mod(Causal::none)},
      {"mod trained by threshold", mod(Causal::threshold, true)},
      {"mod random",
       [](DepthConfig& depth) { depth.kind = "mod", depth.router = "random", depth.gate = Gate::none, depth.causal = Causal::none; }},
      {"nested token, weight, balance loss", nested(BranchChoice::token, GateTraining::weight, Balance::loss)},
      {"nested token, gumbel, balance bias", nested(BranchChoice::token, GateTraining::gumbel, Balance::bias)},
      {"nested sequence, gumbel, balance loss", nested(BranchChoice::sequence, GateTraining::gumbel, Balance::loss)},
      {"nested sequence, hindsight", nested(BranchChoice::sequence, GateTraining::hindsight, Balance::none)},
      {"nested token, hindsight", nested(BranchChoice::token, GateTraining::hindsight, Balance::bias)},
      {"nested expert, threshold", expert(Causal::threshold)},
      {"nested expert, predictor", expert(Causal::predictor)},
      {"scaled layer", scaled(ScaleBy::layer)},
      {"scaled channel", scaled(ScaleBy::channel)},
      {"scaled token", scaled(ScaleBy::token)},
  };
}

struct Run {
  std::shared_ptr<LanguageModel> model;
  Optimizers optimizers;
  MetricWindow window;
  StepSettings settings;

  Run(DepthCase const& depth_case, int64_t micro_sequences)
      : model(make(depth_case)),
        optimizers(make_optimizers(*model, unclipped())),
        window(static_cast<int64_t>(model->plan().routed_layers().size()), at::kCPU) {
    DepthConfig const& depth = model->depth_config();
    settings = {micro_sequences, depth.bce_weight, 1, depth.z_loss_weight, depth.threshold_training};
  }
  static std::shared_ptr<LanguageModel> make(DepthCase const& depth_case) {
    Shape shape = small_shape("dense");
    shape.model.layers = 3;
    depth_case.set(shape.depth);
    auto model = make_model(shape);
    model->train();
    return model;
  }
  // Clipping rounds the norm of the gradients to fp32.
  static TrainConfig unclipped() {
    TrainConfig train;
    train.clip_norm = 0;
    return train;
  }
  void step(int64_t number) {
    at::Tensor const tokens_BT = random_tokens(4, 16, model->vocab_size(), 100 + static_cast<uint64_t>(number));
    at::Tensor const targets_BT = tokens_BT.roll(-1, 1);
    if (number % 2 == 1) {  // as examples have it: of the first sequence only the last tokens are targets, of the third none
      targets_BT[0].narrow(0, 0, 13).fill_(-100);
      targets_BT[2].fill_(-100);
    }
    DeviceBatch const batch{4, targets_BT.ne(-100).sum().item<int64_t>(), tokens_BT, targets_BT, {}, {}};
    double const total = steps;
    train_step(*model, optimizers, batch, settings,
               {number, static_cast<double>(number) / total, static_cast<double>(number + 1) / total, 1e-2}, window);
  }
};

std::map<std::string, at::Tensor> stored_copies(LanguageModel const& model) {
  std::map<std::string, at::Tensor> copies;
  for (auto const& stored : model.stored()) copies[stored.name] = stored.tensor.clone();
  return copies;
}

}  // namespace

TEST_CASE("micro-batches of 1, 2 and all sequences train the same model", "[micro_batches]") {
  for (DepthCase const& depth_case : depth_cases()) {
    Run whole(depth_case, 4), halves(depth_case, 2), singles(depth_case, 1);
    for (int64_t step = 0; step < steps; ++step)
      for (Run* run : {&whole, &halves, &singles}) run->step(step);
    auto const expected = stored_copies(*whole.model), start = stored_copies(*Run(depth_case, 4).model);
    for (Run* run : {&halves, &singles})
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
    Run run(depth_case, 2);
    bool bad = false;
    at::Tensor norm;
    for (auto const& parameter : run.model->trained())
      if (parameter.name == "model.norm.weight") norm = parameter.tensor;
    norm.register_hook([&](at::Tensor const& gradient) { return bad ? gradient * std::numeric_limits<double>::quiet_NaN() : gradient; });
    for (int64_t step = 0; step < steps / 2 - 1; ++step) run.step(step);
    auto const before = stored_copies(*run.model);
    bad = true;
    run.step(steps / 2 - 1);  // the one after which factors would become skips
    for (auto const& [name, tensor] : stored_copies(*run.model)) {
      if (name.find("predictor.") != std::string::npos) continue;  // their own optimizer, whose gradients were finite
      INFO(depth_case.label << ": " << name);
      CHECK(tensor.equal(before.at(name)));
    }
    CHECK(run.window.skipped.item<double>() == 1);
    bad = false;
    run.step(steps / 2);
    CHECK_FALSE(stored_copies(*run.model).at("model.norm.weight").equal(before.at("model.norm.weight")));
  }
}

TEST_CASE("a predictor whose gradients are not finite is counted", "[micro_batches]") {
  Run run(depth_cases()[2], 4);
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
