// Properties of single routers and their options. test_routers.cpp tests those that all routers share.

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>

#include "model/ledger/ledger.h"
#include "nn/router/router.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

constexpr NoiseKey any_noise{5, 6};

Shape kind_shape(std::string const& router, std::string const& gate, std::string const& causal) {
  Shape shape = tiny_shape();
  shape.depth.router = router;
  shape.depth.gate = gate;
  shape.depth.causal = causal;
  shape.vocab = 19;
  return shape;
}

// One routed layer right behind the embedding: depth_BT is who ran.
Shape one_layer(Shape shape) {
  shape.model.layers = 1;
  shape.depth.offset = 0;
  return shape;
}

at::Tensor depth_of(LanguageModel& model, at::Tensor const& tokens, Routing routing) {
  at::NoGradGuard no_grad;
  return model.forward({tokens, {}, {}}, routing, any_noise).depth_BT;
}

// Who ran in a model of one layer, from its output alone: the others leave as the embedding came.
at::Tensor ran_in(LanguageModel const& model, at::Tensor const& tokens, at::Tensor const& x_ND) {
  at::Tensor const x = stored_tensor(model, "model.embed_tokens.weight").index_select(0, tokens.reshape({-1}));
  at::Tensor const untouched =
      x / (x.pow(2).mean(-1, true) + model.model_config().norm_eps).sqrt() * stored_tensor(model, "model.norm.weight");
  return (x_ND.detach() - untouched).abs().amax(1).gt(1e-9).view_as(tokens);
}

bool belongs_to(std::string const& name, char const* part) { return name.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("the norm router's score carries no gradient into its input", "[routers]") {
  Shape const shape = kind_shape("norm", "raw", "none");
  RouterImpl const router(shape.model, shape.depth, shape.vocab);
  at::Tensor const x = normal_tensor({5, shape.model.width}, 3).requires_grad_();
  at::Tensor const score = router.score({x, at::arange(5), all_rows(1, 5, {}, {}, at::kCPU)});
  CHECK_FALSE(score.requires_grad());
  CHECK(largest_relative_difference(score, x.detach().pow(2).mean(1).sqrt()) < 1e-12);
}

TEST_CASE("the token router decides by the token alone, wherever it stands", "[routers]") {
  at::Tensor const distinct = at::stack({at::arange(16), (at::arange(16) * 5 + 3) % 16, at::arange(16).flip(0)});
  auto picking = make_model(kind_shape("token", "sigmoid", "none"));
  at::Tensor const picked = depth_of(*picking, distinct, Routing::topk);
  at::Tensor const by_token = at::zeros_like(picked).scatter_(1, distinct, picked);
  for (int64_t b = 1; b < 3; ++b) CHECK(by_token[b].equal(by_token[0]));
  CHECK(by_token[0].min().item<int64_t>() < by_token[0].max().item<int64_t>());

  auto deciding = make_model(kind_shape("token", "sigmoid", "bce"));
  at::Tensor const tokens = random_tokens(8, 16, 19);
  at::Tensor const depth = depth_of(*deciding, tokens, Routing::causal);
  for (int64_t token = 0; token < 19; ++token) {
    at::Tensor const here = depth.masked_select(tokens.eq(token));
    int64_t expected = 1;
    for (auto const* layer : {"model.layers.1.", "model.layers.2."})
      expected += stored_tensor(*deciding, std::string(layer) + "router.token.weight")[token].item<double>() > 0;
    INFO("token " << token);
    CHECK(here.eq(expected).all().item<bool>());
  }
}

TEST_CASE("the position router chooses the same positions in every sequence", "[routers]") {
  auto const causal = GENERATE("none", "bce", "predictor");
  auto model = make_model(kind_shape("position", "raw", causal));
  at::Tensor const tokens = random_tokens(5, 16, 19);
  at::Tensor const depth = depth_of(*model, tokens, Routing::topk);
  CHECK(depth.equal(depth[0].expand({5, 16})));
  for (auto const* layer : {"model.layers.1.", "model.layers.2."})
    CHECK(stored_tensor(*model, std::string(layer) + "router.position.weight").sizes() == at::IntArrayRef({16}));
  if (causal == std::string("predictor")) return;  // which reads the block's input
  at::Tensor const decided = depth_of(*model, tokens, Routing::causal);
  CHECK(decided.equal(decided[0].expand({5, 16})));
}

TEST_CASE("the position router reads a token's own position", "[routers]") {
  auto model = make_model(one_layer(kind_shape("position", "raw", "bce")));
  at::Tensor const table = stored_tensor(*model, "model.layers.0.router.position.weight");
  at::Tensor const tokens = random_tokens(2, 8, 19), positions = (at::arange(8) + 5).expand({2, 8}).contiguous();
  at::NoGradGuard no_grad;
  at::Tensor const picked = model->forward({tokens, positions, {}}, Routing::topk, {}).depth_BT;
  at::Tensor const expected = at::zeros(8, at::kLong).index_fill_(0, std::get<1>(table.slice(0, 5, 13).topk(2)), 1);
  CHECK(picked.equal(expected.expand({2, 8})));
  CHECK(model->forward({tokens, positions, {}}, Routing::causal, {})
            .depth_BT.equal(table.slice(0, 5, 13).gt(0).to(at::kLong).expand({2, 8})));
}

TEST_CASE("a normalised input makes a score blind to the input's length", "[routers]") {
  auto const router = GENERATE("linear", "mlp");
  Shape shape = one_layer(kind_shape(router, "none", "bce"));
  shape.depth.z_loss_weight = 1;
  at::Tensor const tokens = random_tokens(2, 16, 19);
  for (auto const* input : {"raw", "normalised"}) {
    shape.depth.router_input = input;
    auto model = make_model(shape);
    at::NoGradGuard no_grad;
    at::Tensor const embedding = stored_tensor(*model, "model.embed_tokens.weight");
    auto const losses = [&] {
      ModelOutput const output = model->forward({tokens, {}, {}}, Routing::topk, {});
      return at::stack({output.router_loss, output.z_loss});
    };
    embedding.mul_(1000);  // 1e-6 under the root is nothing from here on
    at::Tensor const before = losses();
    embedding.mul_(3);
    INFO(router << ' ' << input);
    CHECK((largest_relative_difference(losses(), before) < 1e-6) == (input == std::string("normalised")));
  }
}

TEST_CASE("score noise moves top-k's choice, while training and nowhere else", "[routers]") {
  auto const router = GENERATE("linear", "mlp", "position", "token", "norm");
  Shape shape = one_layer(kind_shape(router, "sigmoid", "none"));
  if (router != std::string("norm")) shape.depth.z_loss_weight = 0.2;
  auto const with = [&](double noise) {
    shape.depth.score_noise = noise;
    return make_model(shape);
  };
  auto quiet = with(0), noisy = with(1), loud = with(1e6);
  at::Tensor const tokens = random_tokens(4, 16, 19), other_tokens = random_tokens(4, 16, 19, 8);
  auto const run = [&](LanguageModel& model, NoiseKey const& key) { return model.forward({tokens, {}, {}}, Routing::topk, key); };
  at::Tensor const plain = run(*quiet, {1, 2, 0}).x_ND, moved = run(*noisy, {1, 2, 0}).x_ND;
  INFO(router);

  CHECK(!moved.equal(plain));
  CHECK(run(*noisy, {1, 2, 0}).x_ND.equal(moved));
  CHECK(!run(*noisy, {1, 3, 0}).x_ND.equal(moved));
  CHECK(!run(*noisy, {2, 2, 0}).x_ND.equal(moved));
  CHECK(!run(*noisy, {1, 2, 1}).x_ND.equal(moved));

  // The score itself, not the noisy one, is what gate and z-loss see.
  ModelOutput const output = run(*noisy, {1, 2, 0});
  at::Tensor const ran = ran_in(*noisy, tokens, output.x_ND);
  CHECK(ran.sum(1).eq(4).all().item<bool>());
  auto const expected = Reference(*noisy).forward(tokens, Routing::topk, {}, {ran});
  CHECK(largest_relative_difference(output.x_ND, expected.x_BTD.flatten(0, 1)) < 1e-10);
  REQUIRE(output.z_loss.defined() == expected.z_loss.defined());
  if (output.z_loss.defined()) CHECK(largest_relative_difference(output.z_loss, expected.z_loss) < 1e-10);

  // Noise that drowns every score chooses by the key alone; its choice differs between the sequences.
  at::Tensor const drowned = ran_in(*loud, tokens, run(*loud, {1, 2, 0}).x_ND);
  at::Tensor const other = loud->forward({other_tokens, {}, {}}, Routing::topk, {1, 2, 0}).x_ND;
  CHECK(ran_in(*loud, other_tokens, other).equal(drowned));
  CHECK(!drowned[0].equal(drowned[1]));

  {
    at::NoGradGuard no_grad;
    CHECK(run(*noisy, {1, 2, 0}).x_ND.equal(run(*quiet, {1, 2, 0}).x_ND));
  }
  noisy->eval();
  quiet->eval();
  CHECK(run(*noisy, {1, 2, 0}).x_ND.equal(run(*quiet, {1, 2, 0}).x_ND));
}

TEST_CASE("a detached bce trains the router and leaves the trunk alone", "[routers]") {
  auto const router = GENERATE("linear", "mlp");
  auto const input = GENERATE("raw", "normalised");
  auto const detach = GENERATE(true, false);
  Shape shape = kind_shape(router, "sigmoid", "bce");
  shape.depth.router_input = input;
  shape.depth.bce_detach = detach;
  INFO(router << ' ' << input << (detach ? " detached" : ""));
  at::Tensor const tokens = random_tokens(2, 16, 19), targets = random_tokens(2, 16, 19, 6);
  auto const run = [&](double weight, at::Tensor* bce) {
    auto model = make_model(shape);
    ModelOutput const output = model->forward({tokens, {}, {}}, Routing::topk, {});
    if (bce) *bce = output.router_loss.detach();
    at::Tensor loss = model->loss_sum(output, targets);
    if (weight > 0) loss = loss + weight * output.router_loss;
    loss.backward();
    return stored_gradients(*model);
  };
  at::Tensor bce, undetached_bce;
  auto const on = run(5, &bce), off = run(0, nullptr);
  double trunk = 0, routers = 0;
  for (auto const& [name, gradient] : on) {
    double const change = (gradient - off.at(name)).abs().max().item<double>();
    double& largest = belongs_to(name, ".router.") ? routers : trunk;
    largest = std::max(largest, change);
    if (belongs_to(name, ".router.")) CHECK(change > 1e-6);
  }
  CHECK(routers > 1e-4);
  if (detach) {
    CHECK(trunk < 1e-12);
    shape.depth.bce_detach = false;
    run(0, &undetached_bce);
    CHECK(largest_relative_difference(bce, undetached_bce) < 1e-13);
  } else {
    CHECK(trunk > 1e-4);
  }
}

TEST_CASE("the z-loss by hand", "[routers]") {
  Shape shape = kind_shape("position", "sigmoid", "none");
  shape.model.context = 4;
  shape.depth.z_loss_weight = 0.5;  // which the model itself does not multiply by
  auto model = make_model(shape);
  {
    at::NoGradGuard no_grad;
    stored_tensor(*model, "model.layers.1.router.position.weight").copy_(at::tensor({0.0, 1.0, -1.0, 2.0}));
    stored_tensor(*model, "model.layers.2.router.position.weight").zero_();
  }
  ModelOutput const output = model->forward({random_tokens(2, 4, 19), {}, {}}, Routing::topk, {});
  REQUIRE(output.z_loss.defined());
  // log(1 + e^r)^2 of 0, 1, -1, 2: 0.480453, 1.724656, 0.098133, 4.523823; layer 2: 0.480453
  CHECK(output.z_loss.item<double>() == Catch::Approx(1.0936096223150247).epsilon(1e-12));
  output.z_loss.backward();
  // 2 log(1 + e^r) sigmoid(r), a position's share 1 / 8
  auto const gradients = stored_gradients(*model);
  at::Tensor const r = at::tensor({0.0, 1.0, -1.0, 2.0});
  CHECK(largest_relative_difference(gradients.at("model.layers.1.router.position.weight"), 2 * r.exp().log1p() * r.sigmoid() / 8) < 1e-12);
  CHECK(gradients.at("model.layers.2.router.position.weight")[3].item<double>() == Catch::Approx(std::log(2.0) / 8).epsilon(1e-12));

  shape.depth.z_loss_weight = 0;
  CHECK(!make_model(shape)->forward({random_tokens(2, 4, 19), {}, {}}, Routing::topk, {}).z_loss.defined());
}

TEST_CASE("the z-loss pulls on the router and on the trunk below it", "[routers]") {
  auto const router = GENERATE("linear", "mlp");
  Shape shape = kind_shape(router, "raw", "predictor");
  shape.depth.z_loss_weight = 0.5;
  auto model = make_model(shape);
  model->forward({random_tokens(2, 16, 19), {}, {}}, Routing::topk, {}).z_loss.backward();
  for (auto const& [name, gradient] : stored_gradients(*model)) {
    bool const above = name == "model.norm.weight" || (name.starts_with("model.layers.2.") && !belongs_to(name, ".router."));
    INFO(router << ' ' << name);
    CHECK((gradient.abs().max().item<double>() > 0) == (!above && !belongs_to(name, ".predictor.")));
  }
}

TEST_CASE("what an mlp router costs and how wide it is", "[routers]") {
  ModelConfig model;
  model.layers = 4;
  model.width = 64;
  DepthConfig depth;
  depth.kind = "mod";
  depth.router = "mlp";  // width auto: 64 / 4
  CHECK(make_ledger(model, depth, 512).router_row == 2 * (64 * 16 + 16));
  CHECK(count_parameters(model, depth, 512).routers == 2 * (64 * 16 + 16));
  depth.router_width = 7;
  CHECK(make_ledger(model, depth, 512).router_row == 2 * (64 * 7 + 7));
  CHECK(count_parameters(model, depth, 512).routers == 2 * (64 * 7 + 7));
  model.width = 16;
  depth.router_width = 0;  // at least 8
  CHECK(resolved_router_width(model, depth) == 8);
  CHECK(make_ledger(model, depth, 512).router_row == 2 * (16 * 8 + 8));

  LanguageModel const built(model, depth, 31, 1);
  CHECK(stored_tensor(built, "model.layers.1.router.up.weight").sizes() == at::IntArrayRef({8, 16}));
  CHECK(stored_tensor(built, "model.layers.1.router.down.weight").sizes() == at::IntArrayRef({8}));
}

TEST_CASE("with kept keys a row sees every earlier token, and the ledger counts so", "[routers]") {
  Shape shape = one_layer(kind_shape("linear", "raw", "none"));
  shape.depth.skipped_kv = "keep";
  auto model = make_model(shape);
  at::NoGradGuard no_grad;
  at::Tensor const tokens = random_tokens(2, 16, shape.vocab);
  ModelOutput const output = model->forward({tokens, {}, {}}, Routing::topk, {});
  int64_t pairs = 0;
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t t = 0; t < 16; ++t) pairs += (t + 1) * output.depth_BT[b][t].item<int64_t>();  // the one layer is routed
  CHECK(output.routing_NC[0][routing_pairs].item<int64_t>() == pairs);
  Ledger const ledger = make_ledger(shape.model, shape.depth, shape.vocab);
  RoutedWork const work{8, pairs};
  CHECK(ledger.routed_layer(2, 16, work).attention == pairs * ledger.pair);
  CHECK(ledger.routed_layer(2, 16, work).linear == 8 * (ledger.attention_row + ledger.mlp_row) + 24 * ledger.kv_row);
  CHECK(planned_work(shape.model, shape.depth, 2, 16)[0].pairs == 2 * 4 * 17 / 2);
}

TEST_CASE("with a gate that is a sigmoid, gate_alpha is its ceiling", "[routers]") {
  Shape shape = one_layer(kind_shape("position", "sigmoid", "none"));
  shape.depth.gate_alpha = 0.5;
  shape.depth.capacity = {1};
  auto half = make_model(shape);
  shape.depth.gate_alpha = 1;
  auto whole = make_model(shape);
  at::NoGradGuard no_grad;
  stored_tensor(*half, "model.layers.0.router.position.weight").fill_(60);  // sigmoid 1
  stored_tensor(*whole, "model.layers.0.router.position.weight").fill_(0);  // sigmoid 1/2
  at::Tensor const tokens = random_tokens(2, 16, 19);
  CHECK(largest_relative_difference(half->forward({tokens, {}, {}}, Routing::topk, {}).x_ND,
                                    whole->forward({tokens, {}, {}}, Routing::topk, {}).x_ND) < 1e-12);
}
