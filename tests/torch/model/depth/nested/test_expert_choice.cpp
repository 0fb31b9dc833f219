// Expert choice: routers at the exits of a nested model select the tokens that continue to deeper layers. Compared with a slow masked
// reference.

#include <ATen/ATen.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <set>

#include "model/ledger/ledger.h"
#include "tests/torch/nested_reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

struct ExpertChoice {
  char const *router, *gate, *causal, *skipped_kv;
  bool documents = false, recursion = false, exit_norms = false;
  std::string label() const {
    return std::string(router) + " " + gate + " " + causal + " " + skipped_kv + (documents ? " documents" : "") +
           (recursion ? " recursion" : "") + (exit_norms ? " exit_norms" : "");
  }
};

constexpr ExpertChoice expert_choices[] = {
    {"linear", "raw", "predictor", "drop"},
    {"linear", "sigmoid", "bce", "keep"},
    {"linear", "none", "bce", "drop"},
    {"mlp", "tanh", "threshold", "drop"},
    {"mlp", "sigmoid2", "predictor", "keep", true},
    {"cosine", "raw", "none", "drop", true},
    {"token", "sigmoid", "bce", "drop", true, true},
    {"position", "raw", "predictor", "drop"},
    {"norm", "none", "threshold", "drop", false, false, true},
    {"random", "none", "none", "keep"},
    {"random", "tanh", "none", "drop", true},
    {"linear", "sigmoid", "predictor", "drop", false, true},
    {"linear", "raw", "bce", "drop", false, true, true},
    {"mlp", "sigmoid", "predictor", "keep", true, false, true},
};

// Branches of equal planned shares: of 16 tokens 10 go past the first exit and 5 past the second.
constexpr int64_t T = 16, K[] = {10, 5};

Shape expert_shape(ExpertChoice const& c) {
  Shape shape = tiny_shape();
  shape.model.layers = 5;
  DepthConfig depth;
  depth.kind = "nested";
  depth.choice = "expert";
  depth.exits = {1, 3};
  depth.router = c.router;
  depth.gate = c.gate;
  depth.causal = c.causal;
  depth.skipped_kv = c.skipped_kv;
  depth.recursion = c.recursion;
  depth.exit_norms = c.exit_norms;
  depth.router_width = 5;
  depth.predictor_width = 6;
  depth.router_input = depth.router == "mlp" ? "normalised" : "raw";
  depth.z_loss_weight = depth.router == "linear" || depth.router == "mlp" ? 0.1 : 0;
  shape.depth = depth;
  return shape;
}

// Thresholds that are not 0, the second far enough from the first to matter.
std::shared_ptr<LanguageModel> expert_model(ExpertChoice const& c) {
  auto model = make_model(expert_shape(c));
  at::NoGradGuard no_grad;
  for (auto const& stored : model->stored())
    if (stored.name.ends_with("router.threshold"))
      at::Tensor(stored.tensor).copy_(at::tensor({c.router == std::string("norm") ? 0.6 : -0.2, 3.0}));
  return model;
}

ModelInput expert_input(ExpertChoice const& c, int64_t B) {
  ModelInput input{random_tokens(B, T, 11), {}, {}};
  if (!c.documents) return input;
  // Documents of 3, 1, 7 and 5 tokens.
  std::vector<int64_t> segments, positions;
  for (int64_t document = 0; int64_t const length : {3, 1, 7, 5}) {
    for (int64_t t = 0; t < length; ++t) positions.push_back(t);
    segments.insert(segments.end(), static_cast<size_t>(length), document++);
  }
  input.segments_BT = at::tensor(segments).expand({B, T}).contiguous();
  input.positions_BT = at::tensor(positions).expand({B, T}).contiguous();
  return input;
}

constexpr NoiseKey expert_noise{3, 4};

at::Tensor total_loss(LanguageModel const& model, ModelOutput const& output, at::Tensor const& targets) {
  at::Tensor loss = model.loss_sum(output, targets);
  if (output.router_loss.defined()) loss = loss + 30 * output.router_loss;
  if (output.predictor_loss.defined()) loss = loss + 20 * output.predictor_loss;
  if (output.z_loss.defined()) loss = loss + 10 * output.z_loss;
  return loss;
}

}  // namespace

TEST_CASE("expert choice: agreement with the slow masked model, forward and backward, under either routing", "[nested]") {
  at::Tensor const targets = random_tokens(3, T, 11, 6);
  targets[1][3] = -100;
  for (ExpertChoice const& c : expert_choices)
    for (Routing const routing : {Routing::topk, Routing::causal}) {
      INFO(c.label() << (routing == Routing::topk ? " topk" : " causal"));
      ModelInput const input = expert_input(c, 3);
      auto model = expert_model(c);
      NestedReference const reference(*model);
      ModelOutput const output = model->forward(input, routing, expert_noise);
      auto const expected = reference.run(input, routing, expert_noise);
      CHECK(largest_relative_difference(output.x_ND, expected.x_BTD.flatten(0, 1)) < 1e-10);

      CHECK(output.router_loss.defined() == (c.causal == std::string("bce")));
      CHECK(output.predictor_loss.defined() == (c.causal == std::string("predictor")));
      CHECK(output.z_loss.defined() == (model->depth_config().z_loss_weight > 0));
      CHECK_FALSE(output.gate_loss.defined());
      at::Tensor const logits = expected.x_BTD.matmul(reference.w.at("model.embed_tokens.weight").t()).flatten(0, 1);
      at::Tensor expected_loss = at::cross_entropy_loss(logits, targets.flatten(), {}, at::Reduction::Sum, -100);
      if (output.router_loss.defined()) expected_loss = expected_loss + 30 * expected.router_loss;
      if (output.predictor_loss.defined()) expected_loss = expected_loss + 20 * expected.predictor_loss;
      if (output.z_loss.defined()) expected_loss = expected_loss + 10 * expected.z_loss;
      at::Tensor const loss = total_loss(*model, output, targets);
      CHECK(largest_relative_difference(loss, expected_loss) < 1e-10);

      loss.backward();
      expected_loss.backward();
      for (auto const& [name, gradient] : stored_gradients(*model)) {
        INFO(name);
        at::Tensor const g = reference.w.at(name).grad();
        CHECK(largest_relative_difference(gradient, g.defined() ? g : at::zeros_like(gradient)) < 1e-8);
      }
    }
}

TEST_CASE("expert choice: gradients agree with finite differences", "[nested]") {
  at::Tensor const targets = random_tokens(2, T, 11, 6);
  for (ExpertChoice const& c : expert_choices) {
    if (c.router == std::string("norm")) continue;  // its score is detached
    INFO(c.label());
    auto model = expert_model(c);
    ModelInput const input = expert_input(c, 2);
    auto const loss = [&] {  // the predictor's input is detached
      ModelOutput output = model->forward(input, Routing::topk, expert_noise);
      output.predictor_loss = at::Tensor();
      return total_loss(*model, output, targets);
    };
    for (std::string const part : {"layers.0.", "layers.1.", "layers.2.", "layers.3.", "router.", "exit_norms"}) {
      bool const exists = part == "router." ? router_kind(model->depth_config().router).learned() &&
                                                  (c.gate != std::string("none") || c.causal == std::string("bce"))
                          : part == "exit_norms" ? c.exit_norms
                                                 : !c.recursion || part != "layers.3.";
      if (!exists) continue;
      INFO(part);
      check_direction(*model, loss, [&](std::string const& name) {
        return is_trained(name) && name.find(part) != std::string::npos && name.find("predictor") == std::string::npos;
      });
    }
  }
}

TEST_CASE("expert choice: exactly the planned number goes on, from among those that did before", "[nested]") {
  at::NoGradGuard no_grad;
  for (ExpertChoice const& c : expert_choices)
    for (Routing const routing : {Routing::topk, Routing::causal}) {
      INFO(c.label() << " routing " << static_cast<int>(routing));
      auto model = expert_model(c);
      model->eval();
      ModelInput const input = expert_input(c, 7);
      ModelOutput const output = model->forward(input, routing, expert_noise);
      REQUIRE(output.routed_layers.size() == 4);
      auto const& first = output.routed_layers[0];
      auto const& second = output.routed_layers[2];
      for (size_t i : {0u, 2u}) {  // a stack's layers share their exit's tokens
        RoutedLayer const &a = output.routed_layers[i], &b = output.routed_layers[i + 1];
        CHECK((a.executed_BT.equal(b.executed_BT) && a.topk_BT.equal(b.topk_BT) && a.causal_BT.equal(b.causal_BT) &&
               a.score_BT.equal(b.score_BT)));
        CHECK(a.executed_BT.equal(routing == Routing::topk ? a.topk_BT : a.causal_BT));
      }
      for (at::Tensor const& of_second : {second.executed_BT, second.topk_BT, second.causal_BT})
        CHECK(of_second.logical_and(first.executed_BT.logical_not()).sum().item<int64_t>() == 0);
      CHECK(first.topk_BT.sum(1).eq(K[0]).all().item<bool>());
      at::Tensor const left_B = first.executed_BT.sum(1);
      CHECK(second.topk_BT.sum(1).equal(left_B.clamp_max(K[1])));
      CHECK(output.depth_BT.equal(1 + 2 * first.executed_BT.to(at::kLong) + 2 * second.executed_BT.to(at::kLong)));
      for (int64_t layer = 0; layer < 4; ++layer)
        CHECK(output.routing_NC[layer][routing_rows].item<int64_t>() == (layer < 2 ? first : second).executed_BT.sum().item<int64_t>());
    }
}

TEST_CASE("expert choice: while capacity warms up more tokens go on, first all", "[nested]") {
  at::NoGradGuard no_grad;
  for (ExpertChoice const& c : expert_choices) {
    INFO(c.label());
    auto model = expert_model(c);
    model->eval();
    ModelInput const input = expert_input(c, 7);
    auto const going_on = [&](std::vector<double> const& capacities) {
      model->set_capacities(capacities);
      ModelOutput const output = model->forward(input, Routing::topk, expert_noise);
      return std::pair(output.routed_layers[0].topk_BT.sum(1), output.routed_layers[2].topk_BT.sum(1));
    };
    auto const [all, all_again] = going_on({1, 1, 1, 1});
    CHECK((all.eq(T).all().item<bool>() && all_again.eq(T).all().item<bool>()));
    auto const [most, some] = going_on({0.75, 0.75, 0.5, 0.5});
    CHECK(most.eq(12).all().item<bool>());
    CHECK(some.eq(8).all().item<bool>());
    CHECK_THROWS(model->set_capacities({0.5, 0.5}));
  }
}

TEST_CASE("expert choice: under causal routing the future changes nothing", "[nested]") {
  at::NoGradGuard no_grad;
  for (ExpertChoice const& c : expert_choices) {
    INFO(c.label());
    auto model = expert_model(c);
    model->eval();
    ModelInput const input = expert_input(c, 3);
    ModelOutput const before = model->forward(input, Routing::causal, expert_noise);
    for (int64_t changed : {1, 4, 9, 15}) {
      ModelInput other = input;
      other.tokens_BT = input.tokens_BT.clone();
      other.tokens_BT.slice(1, changed) = (other.tokens_BT.slice(1, changed) + 1 + at::arange(T - changed)) % 11;
      ModelOutput const after = model->forward(other, Routing::causal, expert_noise);
      auto const first = [&](ModelOutput const& output) { return output.x_ND.view({3, T, 8}).slice(1, 0, changed); };
      CHECK(after.depth_BT.slice(1, 0, changed).equal(before.depth_BT.slice(1, 0, changed)));
      CHECK(largest_relative_difference(first(after), first(before)) < 1e-12);
    }
  }
}

TEST_CASE("expert choice: an isolated document never changes another", "[nested]") {
  at::NoGradGuard no_grad;
  for (ExpertChoice const& c : expert_choices)
    for (Routing const routing : {Routing::topk, Routing::causal}) {
      if (!c.documents) continue;
      INFO(c.label());
      auto model = expert_model(c);
      ModelInput const input = expert_input(c, 3);
      ModelInput other = input;
      other.tokens_BT = at::where(input.segments_BT.eq(2), (input.tokens_BT + 1 + at::arange(T) % 3) % 11, input.tokens_BT);
      at::Tensor const same_N = input.segments_BT.ne(2).flatten().nonzero().squeeze(1);
      auto const rest = [&](ModelInput const& i) { return model->forward(i, routing, expert_noise).x_ND.index_select(0, same_N); };
      CHECK(largest_relative_difference(rest(other), rest(input)) < 1e-12);
    }
}

TEST_CASE("expert choice: a forced branch is the dense model of that depth", "[nested]") {
  at::NoGradGuard no_grad;
  for (ExpertChoice const& c : expert_choices) {
    if (c.gate != std::string("none")) continue;  // its weights are not 1
    INFO(c.label());
    auto model = expert_model(c);
    model->eval();
    ModelInput const input = expert_input(c, 3);
    for (int64_t branch : {0, 1, 2}) {
      auto alone = dense_branch(*model, static_cast<size_t>(branch));
      model->force_branch(branch);
      for (Routing const routing : {Routing::topk, Routing::causal}) {
        ModelOutput const output = model->forward(input, routing, expert_noise);
        CHECK(largest_relative_difference(output.x_ND, alone->forward(input, Routing::topk, {}).x_ND) < 1e-12);
        CHECK(output.depth_BT.eq(2 * branch + 1).all().item<bool>());
      }
    }
    model->force_branch(std::nullopt);
    CHECK(model->forward(input, Routing::topk, expert_noise).depth_BT.eq(1).sum().item<int64_t>() == 3 * (T - K[0]));
  }
}

TEST_CASE("expert choice: calibrated cuts let the planned share through, and count outside of training alone", "[nested]") {
  at::NoGradGuard no_grad;
  int64_t const B = 40;
  for (ExpertChoice const& c : expert_choices) {
    INFO(c.label());
    bool const coarse = c.router == std::string("token") || c.router == std::string("position");  // few different scores
    auto model = expert_model(c);
    ModelInput const input = expert_input(c, B);
    auto const rows = [&](Routing routing) {
      at::Tensor const counts_NC = model->forward(input, routing, expert_noise).routing_NC;
      return std::pair{counts_NC[0][routing_rows].item<double>(), counts_NC[2][routing_rows].item<double>()};
    };
    auto const trained = rows(Routing::causal);
    model->eval();
    model->calibrate({input}, expert_noise);
    auto const calibrated = rows(Routing::causal);
    for (auto const& [through, planned] : {std::pair{calibrated.first, K[0]}, std::pair{calibrated.second, K[1]}})
      CHECK(through == Catch::Approx(static_cast<double>(B * planned)).epsilon(coarse ? 0.1 : 0.025));  // sequences' equal beginnings tie
    at::Tensor const cuts = model->offsets();
    REQUIRE(cuts.numel() == 2);
    CHECK(cuts[1].item<double>() == stored_tensor(*model, "model.layers.3.router.cut").item<double>());
    model->train();
    CHECK(rows(Routing::causal) == trained);
    model->eval();
    model->set_offsets(at::full({2}, 1e9));
    CHECK(rows(Routing::causal) == std::pair{0.0, 0.0});
    model->calibrate({input}, expert_noise);
    CHECK(rows(Routing::causal) == calibrated);
  }
}

TEST_CASE("expert choice: the running threshold separates those picked from the other candidates", "[nested]") {
  for (ExpertChoice const& c : expert_choices) {
    if (c.causal != std::string("threshold") && c.causal != std::string("none")) continue;
    INFO(c.label());
    auto model = expert_model(c);
    {
      at::NoGradGuard no_grad;
      for (int layer : {1, 3}) stored_tensor(*model, "model.layers." + std::to_string(layer) + ".router.threshold").zero_();
    }
    ModelInput const input = expert_input(c, 3);
    finish_step(*model, model->forward(input, Routing::topk, expert_noise));
    NestedReference const reference(*model);
    at::NoGradGuard no_grad;
    auto const expected = reference.run(input, Routing::topk, expert_noise);
    at::Tensor candidates_BT = at::ones({3, T}, at::kBool);
    for (size_t exit : {0u, 1u}) {
      at::Tensor const sorted = std::get<0>(expected.score_BT[exit].masked_select(candidates_BT).sort(0, true));
      double const middle = 0.5 * (sorted[3 * K[exit] - 1] + sorted[3 * K[exit]]).item<double>();
      std::string const name = "model.layers." + std::to_string(2 * exit + 1) + ".router.threshold";
      CHECK(stored_tensor(*model, name)[0].item<double>() == Catch::Approx(middle));
      candidates_BT = expected.executed_BT[exit];
    }
  }
}

TEST_CASE("expert choice, recursion and exit norms: the ledger plans what runs and counts what is stored", "[nested]") {
  for (ExpertChoice const& c : expert_choices) {
    INFO(c.label());
    Shape const shape = expert_shape(c);
    auto model = make_model(shape);
    DepthConfig const& depth = shape.depth;
    Ledger const ledger = make_ledger(shape.model, depth, shape.vocab);
    CHECK(ledger.routers == 2);
    CHECK(ledger.gate_row == 0);
    CHECK(model->plan().uses_noncausal_routing());

    ModelOutput const output = model->forward(expert_input(c, 3), Routing::topk, expert_noise);
    std::vector<RoutedWork> const planned = planned_work(shape.model, depth, 3, T);
    REQUIRE(planned.size() == 4);
    for (size_t i = 0; i < 4; ++i) {
      auto const of = [&](RoutingColumn column) { return output.routing_NC[static_cast<int64_t>(i)][column].item<int64_t>(); };
      CHECK(planned[i].rows == of(routing_rows));
      // Kept keys: planned is their mean. Documents: what is planned is one of the whole sequence.
      if (depth.skipped_kv.name() == "drop") CHECK((planned[i].pairs == of(routing_pairs)) == !c.documents);
      CHECK((c.documents ? of(routing_pairs) < planned[i].pairs : true));
    }

    Parameters const count = count_parameters(shape.model, depth, shape.vocab);
    Parameters stored_count;
    std::set<std::string> names;
    for (auto const& stored : model->stored()) {
      CHECK(names.insert(stored.name).second);
      if (!is_trained(stored.name)) continue;
      stored_count.total += stored.tensor.numel();
      if (stored.name.find("router.") != std::string::npos) stored_count.routers += stored.tensor.numel();
      if (stored.name.find("predictor.") != std::string::npos) stored_count.predictors += stored.tensor.numel();
    }
    CHECK(count.total == stored_count.total);
    CHECK(count.routers == stored_count.routers);
    CHECK(count.predictors == stored_count.predictors);
    CHECK(names.contains("model.layers.3.mlp.up_proj.weight") == !c.recursion);
    CHECK(names.contains("model.layers.3.router.cut"));
    CHECK(names.contains("model.exit_norms.1.weight") == c.exit_norms);
    CHECK_FALSE(names.contains("model.exit_norms.2.weight"));

    int64_t trained = 0;
    for (auto const& [name, tensor, role] : model->trained()) {
      trained += tensor.numel();
      if (name.find("router") != std::string::npos) CHECK(role == Role::router);
      if (name.find("predictor") != std::string::npos) CHECK(role == Role::predictor);
      if (role == Role::router) stored_count.routers -= tensor.numel();
      if (role == Role::predictor) stored_count.predictors -= tensor.numel();
      if (name.find("norm") != std::string::npos) CHECK(role == Role::vector);
    }
    CHECK(trained == count.total);
    CHECK(stored_count.routers == 0);
    CHECK(stored_count.predictors == 0);

    // Sharing weights saves parameters, neither FLOPs nor keys and values.
    DepthConfig untied = depth;
    untied.recursion = false;
    int64_t const block = 2 * 8 + 8 * (8 + 2 * 4) + 8 * 8 + 3 * 8 * 12;
    CHECK(count_parameters(shape.model, untied, shape.vocab).total - count.total == (c.recursion ? 2 * block : 0));
    CHECK(planned_forward_flops(shape.model, untied, shape.vocab, 1, T) == planned_forward_flops(shape.model, depth, shape.vocab, 1, T));
    CHECK(kv_bytes_per_token(shape.model, untied) == kv_bytes_per_token(shape.model, depth));
  }
}

TEST_CASE("expert choice: a fresh predictor says yes at the rate of its own candidates", "[nested]") {
  Shape const shape = expert_shape({"linear", "raw", "predictor", "drop"});
  LanguageModel const fresh(shape.model, shape.depth, shape.vocab, 1);
  auto const rate = [&](int layer) {
    return stored_tensor(fresh, "model.layers." + std::to_string(layer) + ".predictor.down.bias").sigmoid().item<double>();
  };
  CHECK(rate(1) == Catch::Approx(2.0 / 3));
  CHECK(rate(3) == Catch::Approx(1.0 / 2));
}
