// Key ranges, compared with a loop over all pairs of rows, and every computation that uses them, compared with LibTorch's operators.

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/random.h"
#include "data/loader.h"
#include "nn/attention/attend.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

// Document numbers that ascend, mostly by one; with `share` of the tokens beginning a document.
at::Tensor random_segments(int64_t B, int64_t T, double share) {
  at::Tensor const segments = at::zeros({B, T}, at::kLong);
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 1; t < T; ++t) {
      bool const begins = random_uniform(7 + static_cast<uint64_t>(b), static_cast<uint64_t>(t)) < share;
      segments[b][t] = segments[b][t - 1] + (begins ? 1 + t % 2 : 0);
    }
  return segments;
}

at::Tensor random_mask(int64_t B, int64_t T, double share) {
  at::Tensor const mask = at::zeros({B, T}, at::kBool);
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 0; t < T; ++t) mask[b][t] = b != 1 && random_uniform(91, static_cast<uint64_t>(b * T + t)) < share;
  return mask;
}

struct RangeCase {
  Rows all, queries, keys;
  at::Tensor index_R;  // of the queries among all rows
  KeyRanges ranges;
  bool among_all;
};

// Queries are all tokens, as many of each sequence, or any number; keys are the queries themselves or all tokens.
RangeCase make_range_case(int64_t B, int64_t T, bool documents, int selection, bool among_all) {
  RangeCase c;
  c.all = all_rows(B, T, {}, documents ? random_segments(B, T, 0.15) : at::Tensor(), at::kCPU);
  c.index_R = at::arange(B * T);
  c.queries = c.all;
  if (selection == 1) {
    int64_t const K = T / 2;
    c.index_R = (at::arange(B).unsqueeze(1) * T + at::arange(K) * 2).flatten();
    c.queries = select_rows(c.all, c.index_R, K);
  }
  if (selection == 2) c.queries = select_ragged(c.all, random_mask(B, T, 0.4), c.index_R);
  c.among_all = among_all;
  c.keys = among_all ? c.all : c.queries;
  c.ranges = among_all ? ranges_among_all(c.all, c.index_R) : ranges_among(c.queries);
  return c;
}

}  // namespace

TEST_CASE("key ranges: a query sees the earlier keys of its own sequence and document", "[attention]") {
  bool const documents = GENERATE(false, true), among_all = GENERATE(false, true);
  int const selection = GENERATE(0, 1, 2);
  int64_t const B = 3, T = 24;
  RangeCase const c = make_range_case(B, T, documents, selection, among_all);
  at::Tensor const key_index = among_all ? at::arange(B * T) : c.index_R;
  for (int64_t r = 0; r < c.queries.count; ++r) {
    int64_t const query = c.index_R[r].item<int64_t>(), sequence = query / T;
    CHECK(c.ranges.sequence_R[r].item<int64_t>() == sequence);
    int64_t place = 0;  // of a key in its sequence
    for (int64_t s = 0; s < key_index.numel(); ++s) {
      int64_t const key = key_index[s].item<int64_t>();
      if (key / T != sequence) continue;
      bool const same = !documents || c.all.segments_R[query].item<int64_t>() == c.all.segments_R[key].item<int64_t>();
      bool const in_range = c.ranges.from_R[r].item<int64_t>() <= place && place < c.ranges.to_R[r].item<int64_t>();
      CHECK(in_range == (same && key <= query));
      ++place;
    }
  }
}

TEST_CASE("key ranges: the CPU's kernel equals LibTorch's operators", "[attention]") {
  bool const documents = GENERATE(false, true), among_all = GENERATE(false, true);
  int const selection = GENERATE(0, 1, 2);
  auto const [heads, kv_heads] = GENERATE(std::pair(4, 4), std::pair(6, 2));
  int64_t const B = 3, T = GENERATE(9, 70), E = 16;
  RangeCase const c = make_range_case(B, T, documents, selection, among_all);
  at::Tensor const dout = normal_tensor({c.queries.count, heads * E}, 4);
  auto const run = [&](at::ScalarType type, bool kernel) {
    std::vector<at::Tensor> in{normal_tensor({c.queries.count, heads, E}, 1), normal_tensor({c.keys.count, kv_heads, E}, 2),
                               normal_tensor({c.keys.count, kv_heads, E}, 3)};
    for (at::Tensor& x : in) x = x.to(type).detach().requires_grad_();
    at::Tensor const out = !kernel     ? ops::attend_by_operators(in[0], in[1], in[2], c.queries, c.among_all ? c.all : c.queries, c.ranges)
                           : among_all ? ops::attend_among_all(in[0], in[1], in[2], c.all, c.index_R, c.queries)
                                       : ops::attend(in[0], in[1], in[2], c.queries);
    out.backward(dout.to(type));
    return std::vector{out.detach(), in[0].grad(), in[1].grad(), in[2].grad()};
  };
  auto const exact = run(at::kDouble, false), kernel = run(at::kFloat, true), chosen = run(at::kDouble, true);
  for (size_t i = 0; i < exact.size(); ++i) {
    CHECK(largest_relative_difference(kernel[i], exact[i]) < 1e-5);
    CHECK(largest_relative_difference(chosen[i], exact[i]) < 1e-12);
    CHECK(exact[i].isfinite().all().item<bool>());
  }
}

TEST_CASE("key ranges: the ledger's pairs are those of the ranges", "[attention]") {
  bool const documents = GENERATE(false, true);
  std::string const skipped_kv = GENERATE("drop", "keep");
  Shape shape = tiny_shape();
  shape.depth.skipped_kv = skipped_kv;
  shape.depth.target = "block";
  shape.model.context = 24;
  auto const model = make_model(shape);
  int64_t const B = 3, T = 24;
  at::Tensor const segments = documents ? random_segments(B, T, 0.2) : at::Tensor();
  at::NoGradGuard const no_grad;
  for (Routing const routing : {Routing::topk, Routing::causal}) {
    ModelOutput const output = model->forward({random_tokens(B, T, shape.vocab), {}, segments}, routing, {});
    for (size_t i = 0; i < output.routed_layers.size(); ++i) {
      at::Tensor const ran = output.routed_layers[i].executed_BT;
      int64_t pairs = 0;
      for (int64_t b = 0; b < B; ++b)
        for (int64_t t = 0; t < T; ++t)
          for (int64_t s = 0; s <= t; ++s) {
            bool const seen = !documents || segments[b][s].item<int64_t>() == segments[b][t].item<int64_t>();
            pairs += seen && ran[b][t].item<bool>() && (skipped_kv == "keep" || ran[b][s].item<bool>());
          }
      CHECK(output.routing_NC[static_cast<int64_t>(i)][routing_pairs].item<int64_t>() == pairs);
    }
  }
}
