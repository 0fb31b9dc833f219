// Evaluation of documents one by one (data/rolling_windows.h), compared with the slow reference window by window.

#include <ATen/ATen.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <numbers>

#include "core/random.h"
#include "data/rolling_windows.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/fast/scratch.h"
#include "tests/torch/reference.h"
#include "trainer/evaluate/token_outcomes.h"

using namespace isobath;
using namespace isobath::test;

namespace {

constexpr int64_t rolling_context = 16;

struct RollingDocuments {
  RollingDocuments() : tokenizer(byte_tokenizer()) {
    for (int64_t const length : {40, 5, 16, 17}) {
      auto& ids = documents.emplace_back();
      for (int64_t t = 0; t < length; ++t)
        ids.push_back(static_cast<int32_t>(random_bits(make_key({7, static_cast<uint64_t>(length)}), static_cast<uint64_t>(t)) % 256));
    }
    write_shard(scratch / "x.shard", documents, 256, 91, tokenizer->fingerprint());  // 91 bytes of text for 78 tokens
    stream = std::make_unique<TokenStream>(std::vector<fs::path>{scratch / "x.shard"});
  }
  Scratch scratch;
  std::unique_ptr<Tokenizer> tokenizer;
  std::vector<std::vector<int32_t>> documents;
  std::unique_ptr<TokenStream> stream;
};

std::shared_ptr<LanguageModel> rolling_model() {
  Shape shape = tiny_shape();
  shape.model.context = rolling_context;
  shape.vocab = 257;
  shape.depth.causal = "bce";
  return make_model(shape);
}

// Of every token of every document.
std::vector<double> losses_by_reference(LanguageModel const& model, RollingDocuments const& text, Routing routing) {
  Reference const reference(model);
  std::vector<double> losses;
  for (auto const& ids : text.documents) {
    auto const n = static_cast<int64_t>(ids.size());
    for (int64_t scored = 0; scored < n;) {
      int64_t const end = std::min(n, scored + rolling_context), length = std::min(n, rolling_context);
      std::vector<int64_t> input, targets;
      for (int64_t t = end - length; t < end; ++t) {
        input.push_back(t == 0 ? 256 : ids[static_cast<size_t>(t) - 1]);
        targets.push_back(ids[static_cast<size_t>(t)]);
      }
      auto const output = reference.forward(at::tensor(input).view({1, length}), routing);
      at::Tensor const head =
          reference.w.contains("lm_head.weight") ? reference.w.at("lm_head.weight") : reference.w.at("model.embed_tokens.weight");
      at::Tensor const log_p = at::log_softmax(output.x_BTD[0].matmul(head.t()), 1);
      for (; scored < end; ++scored) {
        int64_t const place = scored - (end - length);
        losses.push_back(-log_p[place][targets[static_cast<size_t>(place)]].item<double>());
      }
    }
  }
  return losses;
}

}  // namespace

TEST_CASE("documents one by one: every token is scored once, in a full window") {
  RollingDocuments const text;
  auto model = rolling_model();
  model->eval();
  at::NoGradGuard no_grad;
  RollingWindows const windows(*text.stream, text.tokenizer->text_start(), rolling_context);
  EvalSettings settings;
  for (int64_t const at_once : {1, 3, 8}) {
    settings.micro_sequences = at_once;
    auto const all = evaluate(*model, windows, *text.tokenizer, settings);
    REQUIRE(all);
    CHECK(all->tokens == 78);
    CHECK(all->bytes == 91);
    std::vector<TokenOutcome> tokens;
    visit_tokens(*model, windows, *text.tokenizer, settings, [&](TokenOutcome const& token) { tokens.push_back(token); });
    REQUIRE(tokens.size() == 78 + 4);
    for (auto const& [routing, result] : {std::pair(Routing::topk, all->topk), std::pair(Routing::causal, all->causal)}) {
      std::vector<double> const losses = losses_by_reference(*model, text, routing);
      double sum = 0;
      size_t at = 0, scored = 0;
      for (size_t document = 0; document < text.documents.size(); ++document) {
        TokenOutcome const& start = tokens[at++];
        CHECK((start.id == 256 && start.piece.empty() && start.read && std::isnan(start.loss_causal)));
        CHECK(start.document == static_cast<int64_t>(document));
        for (size_t t = 0; t < text.documents[document].size(); ++t, ++at) {
          double const loss = losses[scored++];
          sum += loss;
          CHECK(tokens[at].id == text.documents[document][t]);
          CHECK(tokens[at].document == static_cast<int64_t>(document));
          CHECK(tokens[at].offset == static_cast<int64_t>(t));
          CHECK(tokens[at].read == (t + 1 < text.documents[document].size()));
          CHECK((routing == Routing::topk ? tokens[at].loss_topk : tokens[at].loss_causal) == Catch::Approx(loss).epsilon(1e-9));
        }
      }
      REQUIRE(result);
      CHECK(result->loss == Catch::Approx(sum / 78).epsilon(1e-9));
      CHECK(result->bits_per_byte == Catch::Approx(sum / std::numbers::ln2 / 91).epsilon(1e-9));
    }
  }
}

TEST_CASE("documents one by one: several of one token at once") {
  Scratch const scratch;
  write_shard(scratch / "x.shard", {{5}, {6}, {7}, {8}, {9}}, 256, 5, "0123456789abcdef");
  TokenStream const stream(std::vector<fs::path>{scratch / "x.shard"});
  auto const tokenizer = byte_tokenizer();
  Shape shape = tiny_shape();
  shape.vocab = 257;
  auto const model = make_model(shape, at::kFloat);
  EvalSettings settings;
  auto const losses = [&](int64_t at_once) {
    settings.micro_sequences = at_once;
    auto const result = evaluate(*model, RollingWindows(stream, 256, 16), *tokenizer, settings);
    return std::pair(result->topk->loss, result->causal->loss);
  };
  auto const [topk, causal] = losses(1);
  CHECK(losses(5).first == Catch::Approx(topk).epsilon(1e-6));
  CHECK(losses(5).second == Catch::Approx(causal).epsilon(1e-6));
}
