// The oracle (the best branch in hindsight), compared with loops over single tokens.

#include "trainer/evaluate/oracle.h"

#include <ATen/ATen.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "core/random.h"
#include "data/loader.h"
#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "nn/ops/ops.h"
#include "tests/fast/scratch.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

struct OracleText {
  OracleText() : tokenizer(byte_tokenizer()) {
    std::string text;
    for (uint64_t i = 0; i < 700; ++i) text += static_cast<char>('a' + random_bits(9, i) % 20);
    write_shard(scratch / "x.shard", {tokenizer->encode(text)}, tokenizer->document_end(), static_cast<int64_t>(text.size()),
                tokenizer->fingerprint());
    stream = std::make_unique<TokenStream>(std::vector<fs::path>{scratch / "x.shard"});
  }
  Scratch scratch;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<TokenStream> stream;
};

Shape oracle_shape() {
  Shape shape = tiny_shape();
  shape.model.layers = 4;
  shape.depth = {};
  shape.depth.kind = "nested";
  shape.depth.exits = {1, 2};
  shape.depth.gate_training = "hindsight";
  shape.vocab = 257;
  return shape;
}

}  // namespace

TEST_CASE("the oracle is the best branch of every token, at its own depth or at the model's", "[nested]") {
  OracleText const text;
  auto model = make_model(oracle_shape());
  EvalSettings settings;
  settings.micro_sequences = 5;
  settings.tokens = 20 * 16;
  auto const oracle = measure_branch_oracle(*model, *validation_windows(*text.stream, *model, settings), 2.0, settings);
  REQUIRE(oracle);
  CHECK(model->is_training());

  at::NoGradGuard no_grad;
  model->eval();
  Loader const loader(*text.stream, 16, 0, true, false);
  Batch const batch = loader.at(0, 20);
  at::Tensor const tokens = at::tensor(batch.tokens).view({20, 16}), targets = at::tensor(batch.targets);
  std::vector<at::Tensor> losses;
  for (int64_t branch : {0, 1, 2}) {
    model->force_branch(branch);
    losses.push_back(ops::token_losses(model->forward({tokens, {}, {}}, Routing::causal, {}).x_ND, model->head_weight(), targets));
    CHECK(oracle->branch_losses[static_cast<size_t>(branch)] == Catch::Approx(losses.back().mean().item<double>()));
  }
  model->force_branch(std::nullopt);
  at::Tensor const all = at::stack(losses, 1);
  CHECK(oracle->loss == Catch::Approx(std::get<0>(all.min(1)).mean().item<double>()));
  CHECK(oracle->loss <= oracle->loss_same_depth);

  // No choice of mean depth 2 is better: for the price that gives it, every token's branch is its cheapest.
  double best = 1e9;
  at::Tensor const depths = at::tensor(std::vector<double>{1, 2, 4});
  for (double price = -2; price < 2; price += 0.0005) {
    at::Tensor const branch = (all + price * depths).argmin(1);
    double const depth = depths.index_select(0, branch).mean().item<double>();
    if (depth <= 2.01) best = std::min(best, all.gather(1, branch.unsqueeze(1)).mean().item<double>());
  }
  CHECK(oracle->loss_same_depth == Catch::Approx(best).epsilon(0.002));

  at::Tensor const depth = model->forward({tokens, {}, {}}, Routing::causal, {}).depth_BT.to(at::kDouble).mean(1);
  at::Tensor const x = at::stack({depth, losses[0].view({20, 16}).mean(1)});
  CHECK(oracle->difficulty_correlation == Catch::Approx(x.corrcoef()[0][1].item<double>()));
  CHECK(oracle->correlation_low < oracle->difficulty_correlation);
  CHECK(oracle->correlation_high > oracle->difficulty_correlation);
}

TEST_CASE("only nested models have an oracle", "[nested]") {
  OracleText const text;
  Shape shape = oracle_shape();
  shape.depth = {};
  auto model = make_model(shape);
  CHECK_FALSE(measure_branch_oracle(*model, *validation_windows(*text.stream, *model, {}), 2.0, {}));
}
