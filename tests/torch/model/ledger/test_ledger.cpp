// The ledger, compared with the matrix products that really happen, as LibTorch's profiler hook sees them.

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <memory>
#include <string>
#include <tuple>

#include "model/ledger/ledger.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

int64_t counted_flops = 0;

// 2 M N K of every product between a weight and rows. fp64 models multiply through these operators alone, and attention through
// another one, which does not count here.
std::unique_ptr<at::ObserverContext> count(at::RecordFunction const& function) {
  std::string const name = function.name();
  bool const adds = name == "aten::addmm" || name == "aten::addmm_";
  if (!adds && name != "aten::mm" && name != "aten::mv" && name != "aten::ger") return nullptr;
  at::Tensor const a = function.inputs()[adds ? 1 : 0].toTensor(), b = function.inputs()[adds ? 2 : 1].toTensor();
  counted_flops += 2 * a.numel() * (name == "aten::mv" ? 1 : b.size(-1));  // ger: a router's score, backwards
  return nullptr;
}

class Counter {
 public:
  Counter() : handle_(at::addThreadLocalCallback(at::RecordFunctionCallback(count).needsInputs(true).scopes({at::RecordScope::FUNCTION}))) {
    counted_flops = 0;
  }
  ~Counter() { at::removeCallback(handle_); }
  int64_t flops() const { return counted_flops; }

 private:
  at::CallbackHandle handle_;
};

// The ledger without attention's part.
int64_t linear_flops(Shape const& shape, int64_t B, int64_t T) {
  Ledger ledger = make_ledger(shape.model, shape.depth, shape.vocab);
  ledger.pair = 0;
  return static_cast<int64_t>(ledger.forward(B, T, planned_work(shape.model, shape.depth, B, T)));
}

}  // namespace

TEST_CASE("the ledger's linear FLOPs are the matrix products of a forward pass, exactly", "[ledger]") {
  auto const kind = GENERATE("dense", "mod");
  auto const causal = GENERATE("none", "bce", "predictor");
  auto const mlp = GENERATE("swiglu", "gelu");
  auto const kv_heads = GENERATE(1, 2);
  // Of a router only the kind counts here, of a target and a skip path that they are counted at all.
  auto const [router, target, skip_path] =
      GENERATE(std::tuple("linear", "block", "identity"), std::tuple("mlp", "attention", "linear"), std::tuple("token", "mlp", "low_rank"));
  if (kind == std::string("dense") && router != std::string("linear")) return;
  Shape shape = small_shape(kind);
  shape.depth.causal = causal;
  shape.depth.router = router;
  shape.depth.target = target;
  shape.depth.skip_path = skip_path;
  if (router == std::string("mlp")) shape.depth.skipped_kv = "keep";
  shape.depth.skip_rank = 3 * (skip_path == std::string("low_rank"));
  shape.model.mlp = mlp;
  shape.model.heads = 2;
  shape.model.kv_heads = kv_heads;
  INFO(kind << ' ' << causal << ' ' << mlp << ' ' << kv_heads << ' ' << router << ' ' << target << ' ' << skip_path);
  auto model = make_model(shape);
  at::NoGradGuard const no_grad;
  at::Tensor const tokens = random_tokens(3, 24, shape.vocab);
  Counter const counter;
  model->loss_sum(model->forward({tokens, {}, {}}, Routing::topk, {}), tokens);
  CHECK(counter.flops() == linear_flops(shape, 3, 24));
}

TEST_CASE("the ledger's linear FLOPs of a nested model are those of the rows that ran, forward and in training", "[ledger]") {
  Shape shape = small_shape("nested");
  shape.depth.exits = {2, 3};
  shape.depth.router = GENERATE("linear", "mlp");
  shape.depth.choice = GENERATE("token", "sequence", "expert");
  shape.depth.gate_training = GENERATE("weight", "hindsight");
  if (shape.depth.choice.name() == "expert" && shape.depth.gate_training.name() == "hindsight") return;
  shape.depth.recursion = shape.depth.choice.name() == "expert";
  shape.depth.causal = "none";  // a predictor's input is detached
  shape.depth.skipped_kv = GENERATE("drop", "keep");
  auto model = make_model(shape);
  for (auto const& stored : model->stored())
    if (stored.name == "model.depth_gate.weight") at::Tensor(stored.tensor).mul_(4);  // all branches are taken
  at::Tensor const tokens = random_tokens(3, 24, shape.vocab);
  Counter const counter;
  ModelOutput output = model->forward({tokens, {}, {}}, Routing::topk, {});
  model->training_loss_sum(output, tokens).add(output.gate_loss.defined() ? output.gate_loss : at::zeros({})).backward();
  std::vector<RoutedWork> work;
  for (int64_t layer = 0; layer < output.routing_NC.size(0); ++layer)
    work.push_back({output.routing_NC[layer][routing_rows].item<int64_t>(), output.routing_NC[layer][routing_pairs].item<int64_t>()});
  Ledger ledger = make_ledger(shape.model, shape.depth, shape.vocab);
  ledger.pair = 0;
  REQUIRE(work.back().rows > 0);  // a layer without rows makes no keys either
  INFO(shape.depth.router << ' ' << shape.depth.choice << ' ' << shape.depth.gate_training << ' ' << shape.depth.skipped_kv);
  CHECK(counter.flops() == ledger.train(3, 24, work));
}

TEST_CASE("the ledger's linear FLOPs of scaled layers are those of the rows that ran", "[ledger]") {
  Shape shape = small_shape("scaled");
  shape.depth.scale = GENERATE("layer", "channel", "token");
  shape.depth.skipped_kv = shape.depth.scale.name() == "token" ? GENERATE("drop", "keep") : "drop";
  shape.depth.mean_depth = 3;
  auto model = make_model(shape);
  bool const hard = GENERATE(false, true);
  at::Tensor const tokens = random_tokens(3, 24, shape.vocab);
  finish_step(*model, model->forward({tokens, {}, {}}, Routing::topk, {}));  // the threshold
  if (hard) model->harden();
  Counter const counter;
  ModelOutput output = model->forward({tokens, {}, {}}, Routing::topk, {});
  model->training_loss_sum(output, tokens).backward();
  std::vector<RoutedWork> work;
  for (int64_t layer = 0; layer < output.routing_NC.size(0); ++layer)
    work.push_back({output.routing_NC[layer][routing_rows].item<int64_t>(), output.routing_NC[layer][routing_pairs].item<int64_t>()});
  Ledger ledger = make_ledger(shape.model, shape.depth, shape.vocab);
  ledger.pair = 0;
  INFO(shape.depth.scale << ' ' << shape.depth.skipped_kv << ' ' << hard);
  CHECK(counter.flops() == ledger.train(3, 24, work));
}

TEST_CASE("a training step multiplies three times what a forward pass does, exactly", "[ledger]") {
  // `none`: a predictor's input is detached, so that its backward pass is cheaper than the convention says.
  auto const kind = GENERATE("dense", "mod");
  Shape shape = small_shape(kind);
  shape.depth.causal = "none";
  shape.depth.router = GENERATE("linear", "mlp");
  shape.depth.target = GENERATE("block", "attention", "mlp");
  shape.depth.skip_path = GENERATE("identity", "linear");
  auto model = make_model(shape);
  at::Tensor const tokens = random_tokens(3, 24, shape.vocab);
  Counter const counter;
  model->loss_sum(model->forward({tokens, {}, {}}, Routing::topk, {}), tokens).backward();
  INFO(kind << ' ' << shape.depth.router << ' ' << shape.depth.target << ' ' << shape.depth.skip_path);
  CHECK(counter.flops() == 3 * linear_flops(shape, 3, 24));
}
