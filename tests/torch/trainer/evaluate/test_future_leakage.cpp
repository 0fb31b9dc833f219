// Future leakage: later tokens change earlier results through top-k, but not through causal decisions or across documents.

#include "trainer/evaluate/future_leakage.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/error.h"
#include "core/random.h"
#include "tests/fast/scratch.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

// Documents of 3 to 14 random bytes, each with its end; the last may be shorter.
struct LeakText {
  explicit LeakText(int64_t tokens = 600) {
    std::vector<std::vector<int32_t>> documents;
    for (uint64_t i = 0; tokens > 0; ++i) {
      auto const length = std::min<int64_t>(tokens, 4 + static_cast<int64_t>(random_bits(1, i) % 12));
      auto& document = documents.emplace_back();
      for (int64_t t = 0; t + 1 < length; ++t)
        document.push_back(static_cast<int32_t>(random_bits(make_key({2, i}), static_cast<uint64_t>(t)) % 256));
      tokens -= length;
    }
    write_shard(scratch / "x.shard", documents, 256, 1, "0123456789abcdef");
    stream = std::make_unique<TokenStream>(std::vector<fs::path>{scratch / "x.shard"});
  }
  Scratch scratch;
  std::unique_ptr<TokenStream> stream;
};

std::shared_ptr<LanguageModel> leak_model(std::string const& kind, std::string const& router = "linear") {
  Shape shape = small_shape(kind);
  shape.vocab = 257;
  shape.depth.router = router;
  shape.depth.causal = router == "random" ? "none" : "bce";
  return make_model(shape, at::kFloat);
}

EvalSettings leak_settings(bool isolated) {
  EvalSettings settings;
  settings.isolate_documents = isolated;
  settings.micro_sequences = 5;
  return settings;
}

}  // namespace

TEST_CASE("the future reaches the past through top-k and nothing else", "[leak]") {
  LeakText const text;
  char const* router = GENERATE("linear", "mlp");
  auto model = leak_model("mod", router);
  FutureLeakage const topk = measure_future_leakage(*model, *text.stream, Routing::topk, leak_settings(false));
  CHECK(topk.tokens == 24 * 11);
  CHECK(topk.changed_choices > 0.01);
  CHECK(topk.changed_choices < 0.5);
  CHECK(topk.loss_change > 1e-4);
  FutureLeakage const causal = measure_future_leakage(*model, *text.stream, Routing::causal, leak_settings(false));
  CHECK(causal.tokens == topk.tokens);
  CHECK(causal.changed_choices == 0);
  CHECK(causal.loss_change < 1e-6);
}

// Expert choice has one router for all layers behind an exit: what it chose is counted, and divided by, once a layer.
TEST_CASE("the share of changed choices is the mean over routed layers, however many routers they have", "[leak]") {
  LeakText const text;
  bool const nested = GENERATE(true, false);
  Shape shape = small_shape(nested ? "nested" : "mod");
  shape.vocab = 257;
  if (nested) {
    shape.depth.choice = "expert";
    shape.depth.exits = {1};
  }
  shape.depth.causal = "bce";
  auto model = make_model(shape, at::kFloat);
  EvalSettings settings = leak_settings(false);
  settings.tokens = 2 * 24;
  FutureLeakage const leak = measure_future_leakage(*model, *text.stream, Routing::topk, settings);

  at::NoGradGuard const no_grad;
  model->eval();
  std::vector<int64_t> windows(48);
  text.stream->copy(0, windows);
  at::Tensor const before_BT = at::tensor(windows).view({2, 24});
  at::Tensor const after_BT = at::cat({before_BT.narrow(1, 0, 12), before_BT.narrow(1, 12, 12).flip(0)}, 1);  // second halves exchanged
  auto const a = model->forward({before_BT, {}, {}}, Routing::topk, {}).routed_layers;
  auto const b = model->forward({after_BT, {}, {}}, Routing::topk, {}).routed_layers;
  REQUIRE(a.size() == (nested ? 3u : 2u));
  double changed = 0;
  for (size_t layer = 0; layer < a.size(); ++layer)
    changed += static_cast<double>(a[layer].executed_BT.ne(b[layer].executed_BT).narrow(1, 0, 11).sum().item<int64_t>());
  CHECK(changed > 0);
  CHECK(leak.tokens == 2 * 11);
  CHECK(leak.changed_choices == changed / static_cast<double>(2 * 11 * a.size()));
}

TEST_CASE("what chooses by the place alone leaks nothing", "[leak]") {
  LeakText const text;
  auto model = leak_model("mod", GENERATE("position", "random"));
  FutureLeakage const leak = measure_future_leakage(*model, *text.stream, Routing::topk, leak_settings(false));
  CHECK(leak.tokens > 0);
  CHECK(leak.changed_choices == 0);
  CHECK(leak.loss_change < 1e-6);
}

TEST_CASE("isolated documents leak nothing that ended before", "[leak]") {
  LeakText const text;
  auto const routing = GENERATE(Routing::topk, Routing::causal);
  char const* router = GENERATE("linear", "token", "position");
  auto model = leak_model("mod", router);
  FutureLeakage const leak = measure_future_leakage(*model, *text.stream, routing, leak_settings(true));
  CHECK(leak.tokens > 0);
  CHECK(leak.tokens < measure_future_leakage(*model, *text.stream, routing, leak_settings(false)).tokens);
  CHECK(leak.changed_choices == 0);
  CHECK(leak.loss_change < 1e-6);
}

TEST_CASE("a dense model leaks nothing", "[leak]") {
  LeakText const text;
  auto model = leak_model("dense");
  for (bool const isolated : {false, true}) {
    FutureLeakage const leak = measure_future_leakage(*model, *text.stream, Routing::topk, leak_settings(isolated));
    CHECK(leak.tokens > 0);
    CHECK(leak.changed_choices == 0);
    CHECK(leak.loss_change < 1e-6);
  }
}

TEST_CASE("measuring a leak changes nothing in the model and takes the text it is told", "[leak]") {
  LeakText const text;
  bool const training = GENERATE(false, true);
  auto model = leak_model("mod");
  model->train(training);
  auto const before = model->offsets();
  EvalSettings settings = leak_settings(false);
  auto const tokens = [&] { return measure_future_leakage(*model, *text.stream, Routing::topk, settings).tokens; };
  for (int64_t const at_once : {1, 2, 4, 5, 23, 24, 100}) {
    settings.micro_sequences = at_once;
    CHECK(tokens() == 24 * 11);
  }
  CHECK(model->is_training() == training);
  CHECK(model->offsets().equal(before));
  for (int64_t const windows : {2, 6, 7}) {
    settings.micro_sequences = 5;
    settings.tokens = windows * 24;
    CHECK(tokens() == windows * 11);
  }
  settings.tokens = 3 * 24;
  settings.micro_sequences = 3;
  double const of_three = measure_future_leakage(*model, *text.stream, Routing::topk, settings).loss_change;
  settings.micro_sequences = 2;  // the third cannot be alone: there is no other window to take
  CHECK(measure_future_leakage(*model, *text.stream, Routing::topk, settings).loss_change == of_three);
  settings.tokens = 5;  // two windows are the least
  CHECK(tokens() == 2 * 11);
}

TEST_CASE("too little text for a leak is an error of the data", "[leak]") {
  auto model = leak_model("mod");
  for (int64_t const tokens : {3, 20, 40}) {
    LeakText const text(tokens);
    try {
      measure_future_leakage(*model, *text.stream, Routing::topk, leak_settings(false));
      FAIL("not thrown");
    } catch (Error const& error) {
      CHECK(error.code() == ExitCode::data);
    }
  }
}
