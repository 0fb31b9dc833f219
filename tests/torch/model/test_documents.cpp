// Top-k within documents: how the K of a sequence are divided among its documents, and the independence of documents.

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <numeric>

#include "core/random.h"
#include "nn/ops/ops.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

// Where the documents of one sequence begin, and where the last ends.
using Borders = std::vector<int64_t>;

Borders random_borders(int64_t T, uint64_t seed) {
  Borders borders{0};
  for (int64_t t = 1; t < T; ++t)
    if (random_uniform(seed, static_cast<uint64_t>(t)) < 0.25) borders.push_back(t);
  borders.push_back(T);
  return borders;
}

// Document numbers, which ascend and may leave some out.
at::Tensor segments_of(std::vector<Borders> const& borders, int64_t number_step = 1) {
  int64_t const B = static_cast<int64_t>(borders.size()), T = borders[0].back();
  at::Tensor const segments = at::empty({B, T}, at::kLong);
  for (int64_t b = 0; b < B; ++b)
    for (size_t d = 0; d + 1 < borders[static_cast<size_t>(b)].size(); ++d) {
      Borders const& at = borders[static_cast<size_t>(b)];
      segments[b].narrow(0, at[d], at[d + 1] - at[d]).fill_(number_step * static_cast<int64_t>(d));
    }
  return segments;
}

at::Tensor positions_of(std::vector<Borders> const& borders) {
  std::vector<at::Tensor> sequences;
  for (Borders const& at : borders) {
    std::vector<at::Tensor> documents;
    for (size_t d = 0; d + 1 < at.size(); ++d) documents.push_back(at::arange(at[d + 1] - at[d]));
    sequences.push_back(at::cat(documents));
  }
  return at::stack(sequences);
}

// Document by document the best by a stable sort.
at::Tensor picked_by_loop(at::Tensor const& score_BT, std::vector<Borders> const& borders, int64_t K) {
  int64_t const T = score_BT.size(1);
  std::vector<int64_t> picked;
  for (size_t b = 0; b < borders.size(); ++b) {
    std::vector<int64_t> of_sequence;
    at::Tensor const score = score_BT[static_cast<int64_t>(b)].contiguous();
    for (size_t d = 0; d + 1 < borders[b].size(); ++d) {
      int64_t const first = borders[b][d], last = borders[b][d + 1];
      std::vector<int64_t> order(static_cast<size_t>(last - first));
      std::iota(order.begin(), order.end(), first);
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t x, int64_t y) { return score.data_ptr<double>()[x] > score.data_ptr<double>()[y]; });
      order.resize(static_cast<size_t>(K * last / T - K * first / T));
      of_sequence.insert(of_sequence.end(), order.begin(), order.end());
    }
    CHECK(static_cast<int64_t>(of_sequence.size()) == K);  // the shares add up
    std::sort(of_sequence.begin(), of_sequence.end());
    for (int64_t const t : of_sequence) picked.push_back(static_cast<int64_t>(b) * T + t);
  }
  return at::tensor(picked, at::kLong);
}

// Every router, and what it is combined with.
struct DocumentChoice {
  char const *router, *causal, *target, *skipped_kv;
};

std::vector<DocumentChoice> document_choices() {
  std::vector<DocumentChoice> choices;
  size_t turn = 0;
  for (char const* router : {"linear", "mlp", "position", "token", "norm", "random"})
    for (auto const& [target, skipped_kv] : {std::pair{"block", "drop"}, {"block", "keep"}, {"mlp", "drop"}}) {
      bool const learns = std::string(router) != "norm" && std::string(router) != "random";
      char const* const decisions[] = {"bce", "predictor", "threshold", "none"};
      choices.push_back({router, learns ? decisions[turn++ % 4] : "none", target, skipped_kv});
    }
  return choices;
}

std::shared_ptr<LanguageModel> document_model(DocumentChoice const& choice) {
  Shape shape = small_shape();
  shape.depth.router = choice.router;
  shape.depth.causal = choice.causal;
  shape.depth.target = choice.target;
  shape.depth.skipped_kv = choice.skipped_kv;
  auto model = make_model(shape);
  model->eval();
  // Cuts that let some through, so that causal runs are neither empty nor full.
  at::NoGradGuard const no_grad;
  model->calibrate({{random_tokens(4, 24, shape.vocab, 8), {}, {}}}, {});
  return model;
}

// Tokens [first, last) of every sequence become others.
at::Tensor with_others(at::Tensor const& tokens_BT, int64_t first, int64_t last, int64_t vocab) {
  at::Tensor const other = tokens_BT.clone();
  at::Tensor const part = other.narrow(1, first, last - first);
  part.copy_((part + 1 + at::arange(last - first) % (vocab - 1)) % vocab);
  return other;
}

double largest_absolute_difference(at::Tensor const& a, at::Tensor const& b) { return (a - b).abs().max().item<double>(); }

std::string document_label(DocumentChoice const& c, Routing routing) {
  return std::string(c.router) + " " + c.causal + " " + c.target + " " + c.skipped_kv + (routing == Routing::topk ? " topk" : " causal");
}

}  // namespace

TEST_CASE("top-k of documents is each document's own best, by a loop", "[documents]") {
  uint64_t const seed = GENERATE(1, 2, 3, 4, 5, 6);
  int64_t const T = GENERATE(1, 7, 20);
  int64_t const levels = GENERATE(0, 3);  // few levels: many ties
  at::Tensor score = normal_tensor({4, T}, seed);
  if (levels > 0) score = (score * levels).floor();
  std::vector<Borders> borders;
  for (uint64_t b = 0; b < 4; ++b) borders.push_back(b == 3 ? Borders{0, T} : random_borders(T, make_key({seed, b})));
  for (int64_t K = 1; K <= T; ++K) {
    INFO("T " << T << ", K " << K << ", seed " << seed);
    at::Tensor const expected = picked_by_loop(score, borders, K);
    CHECK(ops::top_k_of_documents(score, segments_of(borders), K).equal(expected));
    CHECK(ops::top_k_of_documents(score, segments_of(borders, 5), K).equal(expected));
    CHECK(ops::top_k_of_documents(score.to(at::kFloat), segments_of(borders), K).equal(expected));
  }
}

TEST_CASE("top-k of one document is top-k", "[documents]") {
  int64_t const T = 18;
  at::Tensor const score = (normal_tensor({3, T}, 21) * 2).floor();
  for (int64_t K = 1; K <= T; ++K) CHECK(ops::top_k_of_documents(score, at::full({3, T}, 4, at::kLong), K).equal(ops::top_k(score, K)));
}

TEST_CASE("top-k of documents shares K among the tokens that can be chosen", "[documents]") {
  uint64_t const seed = GENERATE(1, 2, 3, 4, 5, 6, 7, 8);
  int64_t const T = 20, K = GENERATE(1, 5, 6);
  std::vector<Borders> const borders{random_borders(T, seed), random_borders(T, seed + 100)};
  at::Tensor const segments = segments_of(borders);
  // Seven of every sequence.
  at::Tensor const stopped_BT = normal_tensor({2, T}, seed + 200).argsort(int64_t{1}, false).argsort(int64_t{1}, false).ge(7);
  at::Tensor const scores = normal_tensor({2, T}, seed + 300).masked_fill(stopped_BT, -INFINITY);
  at::Tensor const index = ops::top_k_of_documents(scores, segments, K);
  CHECK(index.equal(best(scores, segments, K).flatten().nonzero().squeeze(1)));
  CHECK_FALSE(stopped_BT.flatten().index_select(0, index).any().item<bool>());
}

TEST_CASE("a document's share is its length's to within one", "[documents]") {
  int64_t const T = 24;
  for (uint64_t seed = 1; seed < 6; ++seed) {
    Borders const borders = random_borders(T, seed);
    for (int64_t K = 1; K <= T; ++K) {
      at::Tensor const index = ops::top_k_of_documents(normal_tensor({1, T}, seed), segments_of({borders}), K);
      for (size_t d = 0; d + 1 < borders.size(); ++d) {
        auto const share = static_cast<double>(K * (borders[d + 1] - borders[d])) / static_cast<double>(T);
        auto const picked = index.ge(borders[d]).logical_and(index.lt(borders[d + 1])).sum().item<int64_t>();
        CHECK(std::abs(static_cast<double>(picked) - share) < 1);
      }
    }
  }
}

TEST_CASE("documents know nothing of each other in a routed model", "[documents]") {
  auto const routing = GENERATE(Routing::topk, Routing::causal);
  at::NoGradGuard const no_grad;
  std::vector<Borders> const borders{{0, 9, 14, 24}, {0, 9, 14, 24}};
  at::Tensor const segments = segments_of(borders), positions = positions_of(borders);
  for (DocumentChoice const& choice : document_choices()) {
    INFO(document_label(choice, routing));
    auto model = document_model(choice);
    int64_t const vocab = model->vocab_size();
    at::Tensor const tokens = random_tokens(2, 24, vocab);
    auto const run = [&](at::Tensor const& t) { return model->forward({t, positions, segments}, routing, {}).x_ND.view({2, 24, -1}); };
    at::Tensor const before = run(tokens);
    for (auto const& [first, last] : {std::pair<int64_t, int64_t>{0, 9}, {9, 14}, {14, 24}}) {
      at::Tensor const after = run(with_others(tokens, first, last, vocab));
      at::Tensor others = at::ones({24}, at::kBool);
      others.slice(0, first, last).fill_(false);
      at::Tensor const rest = others.nonzero().squeeze(1);
      CHECK(largest_absolute_difference(after.index_select(1, rest), before.index_select(1, rest)) < 1e-12);
      CHECK(largest_absolute_difference(after.slice(1, first, last), before.slice(1, first, last)) > 1e-3);
    }
  }
}

TEST_CASE("a document in a packed sequence is the document alone", "[documents]") {
  // Causally, where no share depends on the others' lengths.
  at::NoGradGuard const no_grad;
  std::vector<Borders> const borders{{0, 9, 14, 24}};
  for (DocumentChoice const& choice : document_choices()) {
    if (std::string(choice.router) == "random") continue;  // its noise belongs to places in the batch
    INFO(document_label(choice, Routing::causal));
    auto model = document_model(choice);
    at::Tensor const tokens = random_tokens(1, 24, model->vocab_size());
    at::Tensor const together = model->forward({tokens, positions_of(borders), segments_of(borders)}, Routing::causal, {}).x_ND;
    for (size_t d = 0; d < 3; ++d) {
      int64_t const first = borders[0][d], last = borders[0][d + 1];
      at::Tensor const alone = model->forward({tokens.slice(1, first, last), {}, {}}, Routing::causal, {}).x_ND;
      CHECK(largest_absolute_difference(together.slice(0, first, last), alone) < 1e-12);
    }
  }
}

TEST_CASE("without documents a later token reaches an earlier one through top-k alone", "[documents]") {
  at::NoGradGuard const no_grad;
  int reached = 0;
  for (DocumentChoice const& choice : document_choices()) {
    auto model = document_model(choice);
    int64_t const vocab = model->vocab_size();
    at::Tensor const tokens = random_tokens(2, 24, vocab), other = with_others(tokens, 14, 24, vocab);
    for (Routing const routing : {Routing::topk, Routing::causal}) {
      INFO(document_label(choice, routing));
      auto const run = [&](at::Tensor const& t) { return model->forward({t, {}, {}}, routing, {}).x_ND.view({2, 24, -1}); };
      at::Tensor const before = run(tokens), after = run(other);
      double const difference = largest_absolute_difference(after.slice(1, 0, 14), before.slice(1, 0, 14));
      if (routing == Routing::causal) CHECK(difference < 1e-12);
      reached += difference > 1e-3;
    }
  }
  CHECK(reached >= 3);
}
