// Branches of different depth: every depth network, choice and training, compared with a slow masked reference.

#include <ATen/ATen.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>

#include "model/depth/nested/plan.h"
#include "model/ledger/ledger.h"
#include "tests/torch/nested_reference.h"
#include "tests/torch/pairs.h"
#include "trainer/train/step.h"

using namespace isobath;
using namespace isobath::test;

namespace {

struct NestedChoice {
  char const *network, *choice, *training, *balance, *skipped_kv;
  bool recursion = false, exit_norms = false;
  std::string label() const {
    return std::string(network) + " " + choice + " " + training + " balance=" + balance + " " + skipped_kv +
           (recursion ? " recursion" : "") + (exit_norms ? " exit_norms" : "");
  }
  std::vector<int64_t> depths() const { return recursion ? std::vector<int64_t>{1, 3, 5} : std::vector<int64_t>{2, 3, 5}; }
  at::Tensor depths_B() const { return at::tensor(depths(), at::kDouble); }
};

// Every training with every balance and choice; of these and the others each value with each value of another.
std::vector<NestedChoice> nested_choices() {
  constexpr char const *networks[] = {"linear", "mlp"}, *choices[] = {"token", "sequence"}, *skipped_kvs[] = {"drop", "keep"},
                       *trainings[] = {"weight", "gumbel", "hindsight"}, *balances[] = {"none", "loss", "bias"};
  std::vector<NestedChoice> all;
  for (size_t t = 0; t < 3; ++t)
    for (size_t b = 0; b < 3; ++b)
      for (size_t c = 0; c < 2; ++c)
        all.push_back({networks[(t + b) % 2], choices[c], trainings[t], balances[b], skipped_kvs[(t + c) % 2]});
  for (char const* choice : {"token", "sequence"})
    for (char const* skipped_kv : {"drop", "keep"}) all.push_back({"random", choice, "weight", "none", skipped_kv});
  for (char const* network : {"linear", "random"})
    for (char const* training : {"weight", "gumbel", "hindsight"})
      for (auto const& [recursion, exit_norms] : {std::pair{true, false}, {false, true}, {true, true}})
        if (network == std::string("linear") || training == std::string("weight"))
          all.push_back({network, "token", training, "none", "drop", recursion, exit_norms});
  return all;
}

Shape nested_shape(NestedChoice const& c) {
  Shape shape = tiny_shape();
  shape.model.layers = 5;
  shape.depth = {};
  shape.depth.kind = "nested";
  shape.depth.exits = {c.depths()[0], c.depths()[1]};
  shape.depth.recursion = c.recursion;
  shape.depth.exit_norms = c.exit_norms;
  shape.depth.decide_after = 1;
  shape.depth.router = c.network;
  shape.depth.router_width = 6;
  shape.depth.choice = c.choice;
  shape.depth.prefix = c.choice == std::string("sequence") ? 3 : 0;
  shape.depth.gate_training = c.training;
  shape.depth.balance = c.balance;
  shape.depth.balance_weight = 0.3;
  shape.depth.skipped_kv = c.skipped_kv;
  shape.depth.mean_depth = 3.4;
  return shape;
}

constexpr NoiseKey nested_noise{3, 4};
std::vector<double> const last_shares{0.5, 0.3, 0.2};  // of the branches, in the step before

at::Tensor price_of(LanguageModel const& model) {
  for (auto const& stored : model.stored())
    if (stored.name == "model.depth_gate.price") return stored.tensor;
  FAIL("no price");
  return {};
}

// A gate that uses all branches, and a price.
std::shared_ptr<LanguageModel> nested_model(NestedChoice const& c) {
  auto model = make_model(nested_shape(c));
  at::NoGradGuard no_grad;
  for (auto const& stored : model->stored())
    if (stored.name == "model.depth_gate.weight") at::Tensor(stored.tensor).mul_(3);
  at::Tensor(price_of(*model)).fill_(0.7);
  for (auto const& stored : model->stored())
    if (stored.name == "model.depth_gate.chosen") at::Tensor(stored.tensor).copy_(at::tensor(last_shares, at::kDouble));
  return model;
}

}  // namespace

TEST_CASE("nested: the choices are tested in every pair", "[nested]") {
  SettingsRows rows;
  for (NestedChoice const& c : nested_choices())
    if (c.network != std::string("random") && !c.recursion && !c.exit_norms)
      rows.push_back({c.network, c.choice, c.training, c.balance, c.skipped_kv});
  for (size_t a = 0; a < 5; ++a)
    for (size_t b = a + 1; b < 5; ++b) {
      INFO(a << " with " << b);
      CHECK(has_every_pair(rows, a, b));
    }
}

TEST_CASE("nested: agreement with the slow masked model, forward and backward", "[nested]") {
  at::Tensor const tokens = random_tokens(2, 16, 11), targets = random_tokens(2, 16, 11, 6);
  targets[1][3] = -100;
  for (NestedChoice const& c : nested_choices()) {
    INFO(c.label());
    auto model = nested_model(c);
    NestedReference const reference(*model);
    ModelOutput output = model->forward({tokens, {}, {}}, Routing::topk, nested_noise);
    at::Tensor loss = model->training_loss_sum(output, targets);
    if (output.gate_loss.defined()) loss = loss + 3 * output.gate_loss;

    bool const hindsight = c.training == std::string("hindsight");
    DepthConfig const& depth = model->depth_config();
    at::Tensor const branch_BT = output.branch_BT;
    auto const expected = reference.run(tokens, branch_BT, hindsight);
    CHECK(largest_relative_difference(output.x_ND, expected.x_BTD.flatten(0, 1)) < 1e-10);

    // The losses, from their definitions.
    int64_t const n = 3, N = 32;
    at::Tensor const depths = c.depths_B() / 5;
    auto const nats = [&](at::Tensor const& x_BTD) {
      at::Tensor const logits = x_BTD.matmul(reference.w.at("model.embed_tokens.weight").t()).flatten(0, 1);
      return at::cross_entropy_loss(logits, targets.flatten(), {}, at::Reduction::None, -100);
    };
    at::Tensor expected_loss;
    if (hindsight) {
      std::vector<at::Tensor> losses;
      for (at::Tensor const& x_BTD : expected.branches_BTD) losses.push_back(nats(x_BTD));
      at::Tensor const losses_NB = at::stack(losses, 1);
      expected_loss = losses_NB.sum() / n;
      at::Tensor costs_NB = losses_NB.detach();
      at::Tensor const counts_N = targets.flatten().ne(-100);
      if (depth.choice.name() == "sequence") {
        at::Tensor const mask = (counts_N.view({2, 16}) * at::arange(16).ge(3)).unsqueeze(2);
        costs_NB = ((costs_NB.view({2, 16, n}) * mask).sum(1, true) / mask.sum(1, true)).expand({2, 16, n}).reshape({N, n});
      }
      at::Tensor const target_NB = ((-costs_NB - 0.7 * depths) / depth.hindsight_temperature).softmax(1);
      expected_loss = expected_loss - 3 * (target_NB * expected.logits_NB.log_softmax(1) * counts_N.unsqueeze(1)).sum() / N;
    } else {
      expected_loss = nats(expected.x_BTD).sum();
    }
    if (depth.router != "random") {
      at::Tensor const p_NB = expected.logits_NB.softmax(1);
      if (depth.balance.name() == "loss") {
        at::Tensor const f_B = at::tensor(last_shares, at::kDouble);  // of the step before
        expected_loss = expected_loss + 3 * 0.3 * n * (f_B * p_NB.mean(0)).sum();
      }
      if (!hindsight) expected_loss = expected_loss + 3 * 0.7 * (p_NB * depths).sum() / N;
    }
    CHECK(largest_relative_difference(loss, expected_loss) < 1e-10);

    loss.backward();
    expected_loss.backward();
    for (auto const& [name, gradient] : stored_gradients(*model)) {
      if (!is_trained(name)) continue;
      INFO(name);
      at::Tensor const g = reference.w.at(name).grad();
      CHECK(largest_relative_difference(gradient, g.defined() ? g : at::zeros_like(gradient)) < 1e-8);
    }
  }
}

TEST_CASE("nested: gradients agree with finite differences", "[nested]") {
  at::Tensor const tokens = random_tokens(2, 16, 11), targets = random_tokens(2, 16, 11, 6);
  for (NestedChoice const& c : nested_choices()) {
    if (c.training == std::string("gumbel")) continue;  // straight through: no gradient of what is computed
    INFO(c.label());
    auto model = nested_model(c);
    // What is learned in hindsight is a target, not a function to differentiate: there the depth network's loss stays out.
    bool const hindsight = c.training == std::string("hindsight");
    auto const loss = [&] {
      at::NoGradGuard no_grad;
      at::Tensor(price_of(*model)).fill_(0.7);  // a training forward moves them
      for (auto const& stored : model->stored())
        if (stored.name == "model.depth_gate.balance") at::Tensor(stored.tensor).zero_();
      at::AutoGradMode const grad(true);
      ModelOutput output = model->forward({tokens, {}, {}}, Routing::topk, nested_noise);
      at::Tensor const gate = output.gate_loss;
      at::Tensor const sum = model->training_loss_sum(output, targets);
      return !hindsight && gate.defined() ? sum + 3 * gate : sum;
    };
    for (std::string const part : {"layers.0.", "layers.2.", "layers.4.", "depth_gate", "exit_norms"}) {
      if (part == "depth_gate" && c.network == std::string("random")) continue;  // it has none
      if (part == "layers.4." && c.recursion) continue;
      if (part == "exit_norms" && !c.exit_norms) continue;
      INFO(part);
      check_direction(*model, loss, [&](std::string const& name) { return is_trained(name) && name.find(part) != std::string::npos; });
    }
  }
}

TEST_CASE("nested: only tokens that go on are work, and the rows are counted", "[nested]") {
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (NestedChoice const& c : nested_choices()) {
    INFO(c.label());
    auto model = nested_model(c);
    ModelOutput const output = model->forward({tokens, {}, {}}, Routing::topk, nested_noise);
    at::Tensor const branch_BT = output.branch_BT;
    at::Tensor const depth_of_branch = at::tensor(c.depths());
    CHECK(output.depth_BT.equal(depth_of_branch.index_select(0, branch_BT.flatten()).view({2, 16})));
    std::vector<int64_t> const routed = routed_layers(model->model_config(), model->depth_config());
    CHECK(routed == (c.recursion ? std::vector<int64_t>{1, 2, 3, 4} : std::vector<int64_t>{2, 3, 4}));
    REQUIRE(output.routing_NC.size(0) == static_cast<int64_t>(routed.size()));
    for (size_t i = 0; i < routed.size(); ++i) {
      int64_t const rows = branch_BT.gt(routed[i] >= 3 ? 1 : 0).sum().item<int64_t>();
      CHECK(output.routing_NC[static_cast<int64_t>(i)][routing_rows].item<int64_t>() == rows);
    }
    if (c.choice == std::string("sequence")) {
      CHECK(branch_BT.narrow(1, 0, 3).eq(2).all().item<bool>());
      CHECK(branch_BT.narrow(1, 3, 13).eq(branch_BT.select(1, 15).unsqueeze(1)).all().item<bool>());
    }
  }
}

TEST_CASE("nested: the future changes nothing, and a sequence's choice sees its prefix alone", "[nested]") {
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (NestedChoice const& c : nested_choices()) {
    INFO(c.label());
    auto model = nested_model(c);
    model->eval();
    auto const run = [&](at::Tensor const& t) { return model->forward({t, {}, {}}, Routing::causal, nested_noise); };
    ModelOutput const before = run(tokens);
    for (int64_t changed : {1, 4, 9, 15}) {
      at::Tensor const other = tokens.clone();
      other.slice(1, changed) = (other.slice(1, changed) + 1 + at::arange(16 - changed)) % 11;
      ModelOutput const after = run(other);
      auto const first = [&](ModelOutput const& output) { return output.x_ND.view({2, 16, 8}).slice(1, 0, changed); };
      bool const decides_later = c.choice == std::string("sequence") && changed < 3;
      if (!decides_later) CHECK(after.branch_BT.slice(1, 0, changed).equal(before.branch_BT.slice(1, 0, changed)));
      CHECK(largest_relative_difference(first(after), first(before)) < 1e-12);
      if (c.choice == std::string("sequence") && changed >= 3) CHECK(after.branch_BT.equal(before.branch_BT));
    }
  }
}

TEST_CASE("nested: all shallow and all deep are the dense models of those depths", "[nested]") {
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (NestedChoice const& c : nested_choices()) {
    if (c.training == std::string("weight") && c.network != std::string("random")) continue;  // its weights are not 1
    INFO(c.label());
    auto model = nested_model(c);
    model->eval();
    for (int64_t branch : {0, 1, 2}) {
      auto alone = dense_branch(*model, static_cast<size_t>(branch));
      model->force_branch(branch);
      at::Tensor const x = model->forward({tokens, {}, {}}, Routing::topk, nested_noise).x_ND;
      CHECK(largest_relative_difference(x, alone->forward({tokens, {}, {}}, Routing::topk, {}).x_ND) < 1e-12);
    }
  }
}

TEST_CASE("nested: calibration reaches the mean depth, cuts count outside of training alone", "[nested]") {
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(40, 16, 11);
  for (NestedChoice const& c : nested_choices()) {
    if (c.network == std::string("random")) continue;
    INFO(c.label());
    auto model = nested_model(c);
    auto const mean = [&](Routing routing) {
      return model->forward({tokens, {}, {}}, routing, nested_noise).depth_BT.to(at::kDouble).mean().item<double>();
    };
    double const trained = mean(Routing::causal);
    model->eval();
    model->calibrate({{tokens, {}, {}}}, nested_noise);
    double const calibrated = mean(Routing::causal);
    bool const coarse = c.choice == std::string("sequence");
    CHECK(calibrated == Catch::Approx(3.4).epsilon(coarse ? 0.05 : 0.01));
    CHECK(model->offsets().numel() == 1);
    model->train();
    CHECK(mean(Routing::causal) == trained);
  }
}

TEST_CASE("nested: a step moves the price, the biases and the shares that the balance loss looks at", "[nested]") {
  at::Tensor const tokens = random_tokens(2, 16, 11);
  for (char const* balance : {"none", "bias", "loss"}) {
    auto model = nested_model({"linear", "token", "weight", balance, "drop"});
    at::Tensor const price = price_of(*model);
    double const before = price.item<double>();
    ModelOutput const output = model->forward({tokens, {}, {}}, Routing::topk, nested_noise);
    CHECK(price.item<double>() == before);  // a pass moves nothing
    finish_step(*model, output, /*updated=*/false);
    CHECK(price.item<double>() == before);
    finish_step(*model, output);
    double const depth = at::tensor(std::vector<double>{2, 3, 5}).index_select(0, output.branch_BT.flatten()).mean().item<double>();
    CHECK(price.item<double>() == Catch::Approx(before + model->depth_config().price_rate * (depth - 3.4) / 5));
    bool chosen_found = false;
    for (auto const& stored : model->stored()) {
      if (stored.name == "model.depth_gate.chosen") {
        chosen_found = true;
        CHECK(at::allclose(stored.tensor, at::one_hot(output.branch_BT.flatten(), 3).to(at::kDouble).mean(0)));
      }
      if (!stored.name.ends_with("depth_gate.balance")) continue;
      at::Tensor const shares = at::tensor(NestedPlan(model->model_config(), model->depth_config()).branch_shares(), at::kDouble);
      at::Tensor const chosen = at::one_hot(output.branch_BT.flatten(), 3).to(at::kDouble).mean(0);
      at::Tensor const expected = balance == std::string("bias") ? 0.3 * (shares - chosen).sign() : at::zeros({3}, at::kDouble);
      CHECK(at::allclose(stored.tensor.to(at::kDouble), expected));
    }
    CHECK(chosen_found == (balance == std::string("loss")));
    at::NoGradGuard no_grad;
    double const after = price.item<double>();
    model->forward({tokens, {}, {}}, Routing::topk, nested_noise);
    CHECK(price.item<double>() == after);
  }
}

TEST_CASE("nested: a random choice has the planned shares", "[nested]") {
  at::NoGradGuard no_grad;
  auto model = nested_model({"random", "token", "weight", "none", "drop"});
  at::Tensor const branch = model->forward({random_tokens(400, 16, 11), {}, {}}, Routing::topk, nested_noise).branch_BT;
  auto const shares = NestedPlan(model->model_config(), model->depth_config()).branch_shares();
  CHECK(2 * shares[0] + 3 * shares[1] + 5 * shares[2] == Catch::Approx(3.4));
  for (int64_t b = 0; b < 3; ++b)
    CHECK(branch.eq(b).to(at::kDouble).mean().item<double>() == Catch::Approx(shares[static_cast<size_t>(b)]).margin(0.02));
}

TEST_CASE("nested: the ledger plans what runs, and hindsight's training costs every branch", "[nested]") {
  for (NestedChoice const& c : nested_choices()) {
    INFO(c.label());
    Shape const shape = nested_shape(c);
    auto model = make_model(shape);
    Ledger const ledger = make_ledger(shape.model, shape.depth, shape.vocab);
    bool const hindsight = c.training == std::string("hindsight"), random = c.network == std::string("random");
    int64_t const weights = random ? 0 : c.network == std::string("mlp") ? 6 * 8 + 3 * 6 : 3 * 8;
    CHECK(ledger.gate_row == 2 * weights);
    CHECK(ledger.training_heads == (hindsight ? 3 : 1));
    int64_t gate = 0, all = 0;
    for (auto const& stored : model->stored()) {
      if (!is_trained(stored.name)) continue;
      all += stored.tensor.numel();
      if (stored.name.find("depth_gate") != std::string::npos) gate += stored.tensor.numel();
    }
    CHECK(gate == (random ? 0 : weights + 3));
    CHECK(count_parameters(shape.model, shape.depth, shape.vocab).total == all);
    if (!hindsight) continue;
    ModelConfig const& m = shape.model;
    int64_t const dense = planned_forward_flops(m, DepthConfig{}, shape.vocab, 2, 16);
    int64_t const deciders = c.choice == std::string("sequence") ? 2 : 32;
    CHECK(planned_train_flops(m, shape.depth, shape.vocab, 2, 16) == 3 * (dense + deciders * 2 * weights + 32 * 2 * ledger.head_row));
  }
}
