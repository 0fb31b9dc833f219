// The fused float kernels against the plain composition (fp64 takes the composition), forward and backward.

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <limits>

#include "nn/attention/attend.h"
#include "nn/backend/backend.h"
#include "nn/ops/gemm.h"
#include "nn/ops/ops.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

at::Tensor wave(at::IntArrayRef shape, double scale, double phase) {
  int64_t count = 1;
  for (int64_t n : shape) count *= n;
  return (at::sin(at::arange(count, at::kDouble) * 1.7 + phase) * scale).view(shape);
}

// Runs `op` on float and double copies of the inputs and compares outputs and input gradients.
template <typename Op>
void compare(std::vector<at::Tensor> const& inputs, Op op, double tolerance = 3e-6) {
  std::vector<at::Tensor> narrow, wide;
  for (at::Tensor const& input : inputs) {
    narrow.push_back(input.to(at::kFloat).detach().requires_grad_());
    wide.push_back(input.to(at::kFloat).to(at::kDouble).detach().requires_grad_());
  }
  at::Tensor const a = op(narrow), b = op(wide);
  CHECK(largest_relative_difference(a, b) < tolerance);
  at::Tensor const seed = wave(b.sizes(), 1, 0.3);
  a.backward(seed.to(at::kFloat));
  b.backward(seed.to(at::kFloat).to(at::kDouble));
  for (size_t i = 0; i < inputs.size(); ++i) {
    INFO("input " << i);
    CHECK(largest_relative_difference(narrow[i].grad(), wide[i].grad()) < tolerance);
  }
}

}  // namespace

TEST_CASE("rms_norm kernel", "[ops]") {
  auto const width = GENERATE(1, 7, 64, 513);
  auto const rows = GENERATE(1, 5, 300);
  compare(
      {wave({rows, width}, 3, 0), wave({width}, 1, 1)}, [](auto const& in) { return ops::rms_norm(in[0], in[1], 1e-5); }, 1e-5);
}

TEST_CASE("linear, whoever multiplies", "[ops]") {
  auto const [rows, in_width, out_width] =
      GENERATE(std::tuple(1, 1, 1), std::tuple(1, 64, 352), std::tuple(37, 48, 5), std::tuple(300, 65, 130));
  INFO(gemm_library());
  compare(
      {wave({rows, in_width}, 1, 0), wave({out_width, in_width}, 1, 1)}, [](auto const& in) { return ops::linear(in[0], in[1]); }, 1e-5);
}

TEST_CASE("gemm takes views and adds where asked", "[ops]") {
  at::Tensor const a = wave({40, 31}, 1, 0).to(at::kFloat), b = wave({20, 31}, 1, 1).to(at::kFloat),
                   all = at::full({50, 20}, 7, at::kFloat);
  gemm_into(all.narrow(0, 5, 40), a, b.t());
  gemm_into(all.narrow(0, 5, 40), a.t().contiguous().t(), b.t(), /*accumulate=*/true);
  CHECK(largest_relative_difference(all.narrow(0, 5, 40), 2 * a.to(at::kDouble).mm(b.to(at::kDouble).t())) < 1e-5);
  CHECK(all.narrow(0, 0, 5).eq(7).all().item<bool>());
  CHECK(all.narrow(0, 45, 5).eq(7).all().item<bool>());
}

TEST_CASE("attention kernel", "[ops]") {
  auto const length = GENERATE(2, 5, 16, 17, 40, 131);
  auto const [heads, kv_heads] = GENERATE(std::pair(1, 1), std::pair(4, 4), std::pair(6, 2));
  auto const head_dim = GENERATE(16, 48, 64, 80);
  int64_t const B = 3, R = B * length;
  Rows const rows = all_rows(B, length, {}, {}, at::kCPU);
  auto const q = wave({R, heads, head_dim}, 1, 0), k = wave({R, kv_heads, head_dim}, 1, 1), v = wave({R, kv_heads, head_dim}, 1, 2);
  compare(
      {q, k, v}, [&](auto const& in) { return ops::attend(in[0], in[1], in[2], rows); }, 2e-4);
  // Scores of some hundreds: a softmax without its largest score subtracted would overflow.
  at::Tensor const far = ops::attend(30 * q.to(at::kFloat), 30 * k.to(at::kFloat), v.to(at::kFloat), rows);
  CHECK(largest_relative_difference(far, ops::attend(30 * q, 30 * k, v, rows)) < 2e-3);
}

TEST_CASE("attention kernel on ragged rows", "[ops]") {
  // 5, 0 and 17 rows of 20: packed to the left, padded on the right, the padding seen by nobody.
  at::Tensor const mask = at::zeros({3, 20}, at::kBool);
  for (int64_t t : {0, 2, 3, 8, 19}) mask[0][t] = true;
  mask[2].narrow(0, 3, 17).fill_(true);
  at::Tensor index;
  Rows const rows = select_ragged(all_rows(3, 20, {}, {}, at::kCPU), mask, index);
  REQUIRE(rows.count == 22);
  compare(
      {wave({22, 4, 16}, 1, 0), wave({22, 2, 16}, 1, 1), wave({22, 2, 16}, 1, 2)},
      [&](auto const& in) { return ops::attend(in[0], in[1], in[2], rows); }, 2e-4);
}

TEST_CASE("attention kernel of some rows among all", "[ops]") {
  auto const ragged = GENERATE(false, true);
  at::Tensor const mask = at::zeros({3, 40}, at::kBool);
  for (int64_t t : {0, 2, 3, 8, 39}) mask[0][t] = true;
  if (ragged) mask[2].narrow(0, 3, 33).fill_(true);  // and none of the second sequence
  if (!ragged) mask.slice(0, 1).slice(1, 30, 35).fill_(true);
  Rows const all = all_rows(3, 40, {}, {}, at::kCPU);
  at::Tensor index;
  Rows const some = select_ragged(all, mask, index);
  compare(
      {wave({some.count, 4, 16}, 1, 0), wave({120, 2, 16}, 1, 1), wave({120, 2, 16}, 1, 2)},
      [&](auto const& in) { return ops::attend_among_all(in[0], in[1], in[2], all, index, some); }, 2e-4);
}

TEST_CASE("products of any number of rows", "[ops]") {
  for (int64_t rows : {1, 7, 16, 17, 63, 64, 65, 130, 192}) {
    INFO(rows);
    at::Tensor const x = wave({rows, 24}, 1, 0), w = wave({42, 24}, 1, 1).t(), dy = wave({rows, 42}, 1, 2);
    CHECK(largest_relative_difference(gemm_of_rows(x.to(at::kFloat), w.to(at::kFloat)), x.mm(w)) < 1e-5);
    CHECK(largest_relative_difference(gemm_over_rows(dy.to(at::kFloat).t(), x.to(at::kFloat)), dy.t().mm(x)) < 1e-5);
  }
}

TEST_CASE("a row that sees itself alone gets its own value", "[ops]") {
  at::Tensor const q = wave({3, 2, 16}, 3, 0).to(at::kFloat), v = wave({3, 1, 16}, 1, 2).to(at::kFloat);
  at::Tensor const out = ops::attend(q, q.narrow(1, 0, 1), v, all_rows(3, 1, {}, {}, at::kCPU));
  CHECK(out.equal(v.expand({3, 2, 16}).flatten(1)));
}

TEST_CASE("swiglu kernel, also far from zero", "[ops]") {
  auto const scale = GENERATE(1.0, 30.0, 200.0);
  compare({wave({37, 2 * 45}, scale, 0)}, [](auto const& in) { return ops::swiglu(in[0]); });
}

TEST_CASE("gelu kernel", "[ops]") {
  auto const scale = GENERATE(1.0, 8.0);
  compare({wave({37, 45}, scale, 0)}, [](auto const& in) { return ops::gelu(in[0]); });
}

TEST_CASE("split_rotary kernel", "[ops]") {
  auto const kv_heads = GENERATE(1, 2, 4);
  int64_t const E = 6, H = 4, R = 19;
  at::Tensor const positions = at::arange(R) * 3;
  compare({wave({R, (H + 2 * kv_heads) * E}, 1, 0)}, [&](auto const& in) {
    auto const [cos, sin] = ops::rotary_tables(64, E, 10000, in[0].options());
    auto const [q, k, v] = ops::split_rotary(in[0], H, kv_heads, E, positions, cos, sin);
    return at::cat({q.flatten(1), k.flatten(1), v.flatten(1)}, 1);
  });
}

TEST_CASE("scatter_add_rows kernel", "[ops]") {
  bool const weighted = GENERATE(true, false);
  at::Tensor const index = at::tensor({0, 3, 4, 9}, at::kLong);
  compare({wave({10, 33}, 1, 0), wave({4, 33}, 1, 1), wave({4}, 1, 2)}, [&](auto const& in) {
    at::Tensor const y = ops::scatter_add_rows(in[0], index, in[1], weighted ? in[2] : at::Tensor());
    return weighted ? y : y + 0 * in[2].sum();
  });
}

TEST_CASE("linear_cross_entropy equals the plain loss and its gradients", "[ops]") {
  auto const vocab = GENERATE(5, 300, 20011);
  int64_t const rows = vocab == 20011 ? 150 : 70, width = 12;  // 20011: several chunks
  at::Tensor const targets = (at::arange(rows) * 7919) % vocab;
  targets[3] = -100;
  auto const chunked = [&](auto const& in) { return ops::linear_cross_entropy(in[0], in[1], targets); };
  compare({wave({rows, width}, 2, 0), wave({vocab, width}, 2, 1)}, chunked, 2e-5);

  at::Tensor const x = wave({rows, width}, 2, 0).requires_grad_(), w = wave({vocab, width}, 2, 1).requires_grad_();
  at::Tensor const x2 = x.detach().clone().requires_grad_(), w2 = w.detach().clone().requires_grad_();
  at::Tensor const plain = at::cross_entropy_loss(x2.mm(w2.t()), targets, {}, at::Reduction::Sum, -100);
  at::Tensor const ours = ops::linear_cross_entropy(x, w, targets);
  (3 * ours).backward();
  (3 * plain).backward();
  CHECK(largest_relative_difference(ours, plain) < 1e-12);
  CHECK(largest_relative_difference(x.grad(), x2.grad()) < 1e-11);
  CHECK(largest_relative_difference(w.grad(), w2.grad()) < 1e-11);
  at::Tensor const each = ops::token_losses(x, w, targets);
  CHECK(each[3].item<double>() == 0);
  CHECK(largest_relative_difference(each.sum(), plain) < 1e-12);
}

TEST_CASE("with a teacher, linear_cross_entropy adds the divergence from its distribution", "[ops]") {
  auto const vocab = GENERATE(7, 20011);
  auto const temperature = GENERATE(1.0, 2.5);
  int64_t const rows = 150, width = 12, teacher_width = 5;
  at::Tensor const targets = (at::arange(rows) * 7919) % vocab;
  targets[3] = -100;
  ops::TeacherStates const teacher{wave({rows, teacher_width}, 2, 2), wave({vocab, teacher_width}, 2, 3)};
  ops::Distillation const distillation{teacher, 0.7, temperature};
  auto const ours = [&](auto const& in) { return ops::linear_cross_entropy(in[0], in[1], targets, nullptr, &distillation); };
  compare({wave({rows, width}, 2, 0), wave({vocab, width}, 2, 1)}, ours, 2e-5);

  at::Tensor const x = wave({rows, width}, 2, 0).requires_grad_(), w = wave({vocab, width}, 2, 1).requires_grad_();
  at::Tensor const x2 = x.detach().clone().requires_grad_(), w2 = w.detach().clone().requires_grad_();
  at::Tensor const logits = x2.mm(w2.t()), teacher_logits = teacher.x_ND.mm(teacher.weight_VD.t());
  at::Tensor const divergences = at::kl_div(at::log_softmax(logits / temperature, 1), at::log_softmax(teacher_logits / temperature, 1),
                                            at::Reduction::None, /*log_target=*/true)
                                     .sum(1) *
                                 targets.ge(0);
  at::Tensor const loss = at::cross_entropy_loss(logits, targets, {}, at::Reduction::Sum, -100);
  at::Tensor const plain = loss + 0.7 * temperature * temperature * divergences.sum();
  ops::RowLosses by_row;
  at::Tensor const sum = ops::linear_cross_entropy(x, w, targets, &by_row, &distillation);
  (3 * sum).backward();
  (3 * plain).backward();
  CHECK(largest_relative_difference(sum, plain) < 1e-12);
  CHECK(largest_relative_difference(by_row.losses_N.sum(), loss) < 1e-12);
  CHECK(largest_relative_difference(by_row.divergences_N, divergences) < 1e-10);
  CHECK(largest_relative_difference(x.grad(), x2.grad()) < 1e-11);
  CHECK(largest_relative_difference(w.grad(), w2.grad()) < 1e-11);

  ops::Distillation const itself{ops::TeacherStates{x.detach(), w.detach()}, 1, temperature};
  ops::linear_cross_entropy(x, w, targets, &by_row, &itself);
  CHECK(by_row.divergences_N.abs().max().item<double>() < 1e-12);
}

TEST_CASE("linear_cross_entropy in bf16 sums its chunks' weight gradients in fp32", "[ops]") {
  int64_t const rows = 300, width = 16, vocab = 20011;  // five chunks
  at::Tensor const targets = (at::arange(rows) * 7919) % vocab;
  at::Tensor const x = wave({rows, width}, 1, 0).to(at::kBFloat16), w = wave({vocab, width}, 1, 1).to(at::kBFloat16).to(at::kFloat);
  auto const gradient = [&](at::ScalarType activations, at::ScalarType weights) {
    at::Tensor const leaf = w.to(weights).clone().requires_grad_();
    at::Tensor const loss = ops::linear_cross_entropy(x.to(activations), leaf, targets);
    loss.backward();
    return std::pair(loss, leaf.grad());
  };
  auto const [narrow_loss, narrow] = gradient(at::kBFloat16, at::kFloat);
  auto const [wide_loss, wide] = gradient(at::kDouble, at::kDouble);
  CHECK(narrow.scalar_type() == at::kFloat);
  CHECK(narrow_loss.scalar_type() == at::kFloat);
  CHECK(largest_relative_difference(narrow_loss, wide_loss) < 1e-3);
  CHECK(largest_relative_difference(narrow, wide) < 1e-2);
}

TEST_CASE("top-k picks as a stable sort does: ties, infinities, NaN, both zeros", "[ops]") {
  auto const [B, T] = GENERATE(std::pair(1, 1), std::pair(3, 7), std::pair(5, 200));
  auto const K = GENERATE_COPY(1, (T + 1) / 2, T);
  at::Tensor const scores = (wave({B, T}, 4, 0) * 2).round().div(2).to(at::kFloat);  // many ties
  float* const values = scores.mutable_data_ptr<float>();
  for (int64_t i = 0; i < B * T; i += 3) values[i] = i % 2 ? 0.0f : -0.0f;
  for (int64_t i = 4; i < B * T; i += 17) values[i] = std::numeric_limits<float>::quiet_NaN();
  for (int64_t i = 5; i < B * T; i += 19) values[i] = std::numeric_limits<float>::infinity();
  for (int64_t i = 6; i < B * T; i += 23) values[i] = -std::numeric_limits<float>::infinity();
  CHECK(at::equal(cpu_backend().top_k(scores, K), aten_backend().top_k(scores, K)));
}

TEST_CASE("attend on ragged rows equals each sequence on its own", "[ops]") {
  int64_t const H = 2, E = 4;
  at::Tensor const mask = at::zeros({3, 9}, at::kBool);  // 4, 0 and 6 rows
  for (int64_t t : {0, 2, 3, 8}) mask[0][t] = true;
  for (int64_t t : {1, 2, 4, 5, 6, 7}) mask[2][t] = true;
  Rows const all = all_rows(3, 9, {}, {}, at::kCPU);
  at::Tensor index;
  Rows const rows = select_ragged(all, mask, index);
  REQUIRE(rows.count == 10);
  REQUIRE(rows.longest == 6);
  REQUIRE(!rows.dense());
  CHECK(rows.positions_R.equal(at::tensor({0, 2, 3, 8, 1, 2, 4, 5, 6, 7}, at::kLong)));
  at::Tensor const q = wave({10, H, E}, 1, 0), k = wave({10, H, E}, 1, 1), v = wave({10, H, E}, 1, 2);
  at::Tensor const together = ops::attend(q, k, v, rows);
  auto const alone = [&](int64_t first, int64_t n) {
    Rows one{1, n, n, rows.positions_R.narrow(0, first, n), {}, {}};
    return ops::attend(q.narrow(0, first, n), k.narrow(0, first, n), v.narrow(0, first, n), one);
  };
  CHECK(largest_relative_difference(together, at::cat({alone(0, 4), alone(4, 6)})) < 1e-12);
}
