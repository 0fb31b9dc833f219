#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include "core/error.h"
#include "model/depth/plan.h"
#include "model/ledger/ledger.h"

using namespace isobath;
using Catch::Approx;

namespace {

ModelConfig small_model() {
  ModelConfig model;
  model.layers = 4;
  model.width = 64;
  model.heads = 4;
  model.kv_heads = 2;
  model.mlp_width = 176;
  model.context = 128;
  return model;
}

DepthConfig routed_depth() {
  DepthConfig depth;
  depth.kind = "mod";
  depth.predictor_width = 16;
  return depth;
}

}  // namespace

TEST_CASE("plan: a dense model by hand") {
  ModelConfig const model = small_model();
  Ledger const ledger = make_ledger(model, DepthConfig{}, 512);
  int64_t const weights = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 176;  // q, k and v, o, gate up down
  CHECK(ledger.attention_row + ledger.mlp_row == 2 * weights);
  CHECK(ledger.pair == 4 * 64);
  CHECK(ledger.head_row == 2 * 64 * 512);
  CHECK(ledger.routed_layers == 0);
  CHECK(ledger.dense_layers == 4);
  int64_t const by_hand = 3 * 128 * (4 * 2 * weights + 2 * 64 * 512) + 3 * 4 * (128 * 129 / 2) * 4 * 64;
  CHECK(ledger.forward(3, 128, {}) == by_hand);
  CHECK(planned_forward_flops(model, DepthConfig{}, 512, 3, 128) == by_hand);
  CHECK(planned_train_flops(model, DepthConfig{}, 512, 3, 128) == 3 * by_hand);
}

TEST_CASE("plan: a routed model by hand") {
  ModelConfig const model = small_model();
  DepthConfig const depth = routed_depth();
  Ledger const ledger = make_ledger(model, depth, 512);
  CHECK(routed_layers(model, depth) == std::vector<int64_t>{1, 3});
  CHECK(ledger.router_row == 2 * 64);
  CHECK(ledger.predictor_row == 2 * (64 * 16 + 16));
  int64_t const dense_block = 128 * (ledger.attention_row + ledger.mlp_row) + 128 * 129 / 2 * ledger.pair;
  int64_t const routed_block =
      16 * (ledger.attention_row + ledger.mlp_row) + 16 * 17 / 2 * ledger.pair + 128 * (ledger.router_row + ledger.predictor_row);
  CHECK(planned_forward_flops(model, depth, 512, 5, 128) == 5 * (2 * dense_block + 2 * routed_block + 128 * ledger.head_row));
  CHECK_THROWS_AS(ledger.forward(1, 128, {}), Error);
}

TEST_CASE("plan: ideal ratios of the paper at 12.5 %, every other block") {
  ModelConfig model = small_model();
  model.context = 2048;
  DepthConfig depth = routed_depth();
  depth.router = "random";
  double linear = 0, pairs = 0;
  for (RoutedWork const& work : planned_work(model, depth, 1, 2048)) {
    linear += static_cast<double>(work.rows) / 2048;
    pairs += static_cast<double>(work.pairs) / static_cast<double>(causal_pairs(2048));
  }
  CHECK((2 + linear) / 4 == Approx(0.5625));
  CHECK((2 + pairs) / 4 == Approx(0.508).epsilon(1e-3));
  CHECK(kv_bytes_per_token(model, depth) == Approx(0.5625 * kv_bytes_per_token(model, DepthConfig{})));
  CHECK(kv_bytes_per_token(model, DepthConfig{}) == 4 * 2 * 2 * 16 * 4);
  // As routed: the dense layers' and those shares of the routed ones'.
  CHECK(kv_bytes_per_token(model, depth, {0.2, 0.05}, 2) == Approx((2 + 0.25) * 2 * 2 * 16 * 2));
  depth.skipped_kv = "keep";
  CHECK(kv_bytes_per_token(model, depth, {0.2, 0.05}, 2) == 4 * 2 * 2 * 16 * 2);
}

TEST_CASE("plan: routing everything costs what dense does, and the routers") {
  ModelConfig const model = small_model();
  DepthConfig depth = routed_depth();
  depth.capacity = {1};
  Ledger const ledger = make_ledger(model, depth, 512);
  CHECK(planned_forward_flops(model, depth, 512, 2, 128) ==
        planned_forward_flops(model, DepthConfig{}, 512, 2, 128) + 2 * 2 * 128 * (ledger.router_row + ledger.predictor_row));
}

TEST_CASE("plan: capacity to rows") {
  CHECK(rows_of_capacity(0.125, 128) == 16);
  CHECK(rows_of_capacity(0.125, 127) == 15);
  CHECK(rows_of_capacity(0.001, 128) == 1);
  CHECK(rows_of_capacity(1, 128) == 128);
  CHECK(rows_of_capacity(0.29, 100) == 29);
}

TEST_CASE("plan: which layers are routed") {
  ModelConfig model = small_model();
  model.layers = 7;
  DepthConfig depth = routed_depth();
  CHECK(routed_layers(model, depth) == std::vector<int64_t>{1, 3, 5});
  depth.offset = 0;
  depth.stride = 3;
  CHECK(routed_layers(model, depth) == std::vector<int64_t>{0, 3, 6});
  depth.kind = "dense";
  CHECK(routed_layers(model, depth).empty());
}

TEST_CASE("plan: parameters by part") {
  ModelConfig model = small_model();
  Parameters const dense = count_parameters(model, DepthConfig{}, 512);
  int64_t const block = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 176 + 2 * 64;
  CHECK(dense.embedding == 512 * 64);
  CHECK(dense.blocks == 4 * block + 64);
  CHECK(dense.total == dense.embedding + dense.blocks);
  CHECK(dense.non_embedding() == dense.blocks);

  Parameters const mod = count_parameters(model, routed_depth(), 512);
  CHECK(mod.routers == 2 * 64);
  CHECK(mod.predictors == 2 * (64 * 16 + 16 + 16 + 1));
  CHECK(mod.blocks == dense.blocks);
  DepthConfig random = routed_depth();
  random.router = "random";
  CHECK(count_parameters(model, random, 512).total == dense.total);

  model.tie_embeddings = false;
  CHECK(count_parameters(model, DepthConfig{}, 512).embedding == 2 * 512 * 64);
  model.qk_norm = true;
  CHECK(count_parameters(model, DepthConfig{}, 512).blocks == dense.blocks + 4 * 2 * 16);
  model.mlp = "gelu";
  CHECK(count_parameters(model, DepthConfig{}, 512).blocks == dense.blocks + 4 * 2 * 16 - 4 * 64 * 176);
}

TEST_CASE("a teacher's forward pass is part of training") {
  ModelConfig model, teacher;
  teacher.layers = 6;
  teacher.width = 128;
  DepthConfig depth;
  depth.kind = "mod";
  Ledger const alone = make_ledger(model, depth, 512), taught = make_ledger(model, depth, 512, {{}, teacher});
  std::vector<RoutedWork> const work(static_cast<size_t>(alone.routed_layers), {8, 20});
  int64_t const pass = planned_forward_flops(teacher, DepthConfig{}, 512, 2, 16);
  CHECK(taught.train(2, 16, work) == alone.train(2, 16, work) + pass);
  CHECK(taught.forward(2, 16, work) == alone.forward(2, 16, work));
  // Documents of a half and a half attend to fewer keys, in the teacher, too.
  Int128 const pairs = 4 * causal_pairs(8), missing = 2 * causal_pairs(16) - pairs;
  CHECK(taught.train(2, 16, work, pairs) - alone.train(2, 16, work, pairs) == pass - missing * taught.teacher_pair);
  CHECK(taught.train_pairs(missing) - alone.train_pairs(missing) == missing * taught.teacher_pair);
  TrainConfig train;
  train.distill.from = "somewhere";
  CHECK_THROWS_AS(training_setup_of(train), Error);  // its sizes are not known
}

// 2 sequences of 16 tokens, of which a routed layer runs 8. Every weight of a linear map costs 2 FLOPs per row in each of three passes; a
// fixed one has no pass for its own gradient.
TEST_CASE("updates of low rank are trained beside matrices that are not") {
  ModelConfig model;
  model.kv_heads = 2;
  DepthConfig depth;
  depth.kind = "mod";
  depth.layers = {3};
  TrainConfig train;
  train.lora.rank = 4;
  std::vector<RoutedWork> const work{{8, 20}};
  int64_t const D = model.width, X = 2 * 2 * (D / model.heads), F = resolved_mlp_width(model), rows = 3 * 32 + 8;
  auto const map = [&](int64_t inputs, int64_t outputs) { return 2 * 4 * (inputs + outputs); };
  int64_t const attention = map(D, D + X) + map(D, D), mlp = map(D, 2 * F) + map(F, D);
  Ledger const plain = make_ledger(model, depth, 512);
  auto const cost = [&](std::vector<std::string> const& targets) {
    train.lora.targets = targets;
    return make_ledger(model, depth, 512, training_setup_of(train)).train(2, 16, work) - plain.train(2, 16, work);
  };
  CHECK(cost({"attention"}) == rows * (3 * attention - plain.attention_row));
  CHECK(cost({"mlp"}) == rows * (3 * mlp - plain.mlp_row));
  CHECK(cost({"attention", "mlp"}) == rows * (3 * (attention + mlp) - plain.attention_row - plain.mlp_row));
  depth.skipped_kv = "keep";
  Ledger const kept = make_ledger(model, depth, 512);
  train.lora.targets = {"attention"};
  CHECK(make_ledger(model, depth, 512, training_setup_of(train)).train(2, 16, work) - kept.train(2, 16, work) ==
        rows * (3 * attention - kept.attention_row) + 24 * (3 * map(D, X) - kept.kv_row));
}

TEST_CASE("depth.layers names the routed blocks") {
  ModelConfig model;
  model.layers = 8;
  DepthConfig depth;
  depth.kind = "mod";
  CHECK(routed_layers(model, depth) == std::vector<int64_t>{1, 3, 5, 7});
  depth.layers = {0, 2, 6};
  depth.capacity = {0.5, 0.1};
  CHECK(routed_layers(model, depth) == depth.layers);
  CHECK(plan_depth(model, depth)->capacities()[2] == Catch::Approx(0.1));
}

TEST_CASE("the half of a layer that is not routed is paid for every token") {
  ModelConfig model;
  DepthConfig depth;
  depth.kind = "mod";
  RoutedWork const work{8, 20};  // of 2 sequences of 16
  depth.target = "mlp";
  Ledger ledger = make_ledger(model, depth, 512);
  CHECK(ledger.routed_layer(2, 16, work).linear == 32 * ledger.attention_row + 8 * ledger.mlp_row);
  CHECK(ledger.routed_layer(2, 16, work).attention == 2 * (16 * 17 / 2) * ledger.pair);
  depth.target = "attention";
  ledger = make_ledger(model, depth, 512);
  CHECK(ledger.routed_layer(2, 16, work).linear == 8 * ledger.attention_row + 32 * ledger.mlp_row);
  CHECK(ledger.routed_layer(2, 16, work).attention == 20 * ledger.pair);
  depth.skip_path = "linear";
  CHECK(make_ledger(model, depth, 512).routed_layer(2, 16, work).linear ==
        ledger.routed_layer(2, 16, work).linear + 24 * 2 * model.width * model.width);
}
