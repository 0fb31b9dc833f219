// Distillation from a teacher's likeliest tokens and the rest as one event.

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>

#include "nn/ops/ops.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

// Numbers without a pattern, the same everywhere.
at::Tensor numbers(at::IntArrayRef shape, double scale, uint64_t key, at::ScalarType type = at::kDouble) {
  int64_t count = 1;
  for (int64_t const n : shape) count *= n;
  return (ops::random_normal(key, count, at::TensorOptions().dtype(type)) * scale).view(shape);
}

// The loss with its gradients.
struct Learned {
  at::Tensor loss, of_x, of_weight, divergences;
};

Learned learn(at::Tensor const& x_ND, at::Tensor const& weight_VD, at::Tensor const& targets_N, ops::Distillation const& distillation) {
  at::Tensor const x = x_ND.detach().clone().requires_grad_(), weight = weight_VD.detach().clone().requires_grad_();
  ops::RowLosses rows;
  at::Tensor const loss = ops::linear_cross_entropy(x, weight, targets_N, &rows, &distillation);
  (3 * loss).backward();
  return {loss.detach(), x.grad(), weight.grad(), rows.divergences_N};
}

at::Tensor some_targets(int64_t rows, int64_t vocab) {
  at::Tensor const targets_N = (at::arange(rows) * 7919) % vocab;
  targets_N[3] = -100;
  return targets_N;
}

}  // namespace

TEST_CASE("likeliest tokens: the largest probabilities at the temperature, in falling order", "[ops]") {
  int64_t const vocab = 5003, rows = 300, K = 4;  // two chunks
  at::Tensor const x = numbers({rows, 6}, 1, 1), weight = numbers({vocab, 6}, 1, 2);
  ops::LikeliestTokens const found = ops::likeliest_tokens(x, weight, 2.5, K);
  auto const [log_p, ids] = at::log_softmax(x.mm(weight.t()) / 2.5, 1).sort(1, /*descending=*/true);
  CHECK(at::equal(found.ids_NK, ids.narrow(1, 0, K)));
  CHECK(largest_relative_difference(found.log_p_NK, log_p.narrow(1, 0, K)) < 1e-12);
}

TEST_CASE("likeliest tokens: all of the vocabulary give the whole divergence", "[ops]") {
  auto const vocab = GENERATE(7, 20011);  // the latter in several chunks
  auto const temperature = GENERATE(1.0, 2.5);
  int64_t const rows = 120;
  at::Tensor const x = numbers({rows, 12}, 1, 1), weight = numbers({vocab, 12}, 0.7, 2), targets = some_targets(rows, vocab);
  ops::TeacherStates const states{numbers({rows, 5}, 1, 3), numbers({vocab, 5}, 1, 4)};
  Learned const whole = learn(x, weight, targets, {states, 0.7, temperature});
  ops::LikeliestTokens tokens = ops::likeliest_tokens(states.x_ND, states.weight_VD, temperature, vocab);
  tokens.ids_NK = tokens.ids_NK.to(at::kInt);
  Learned const listed = learn(x, weight, targets, {tokens, 0.7, temperature});
  CHECK(largest_relative_difference(listed.loss, whole.loss) < 1e-12);
  CHECK(largest_relative_difference(listed.divergences, whole.divergences) < 1e-10);
  CHECK(largest_relative_difference(listed.of_x, whole.of_x) < 1e-11);
  CHECK(largest_relative_difference(listed.of_weight, whole.of_weight) < 1e-11);
  CHECK(listed.divergences[3].item<double>() == 0);
}

TEST_CASE("likeliest tokens: loss by its definition, gradients by finite differences", "[ops]") {
  int64_t const vocab = 11, rows = 6, K = 3;
  double const temperature = 1.7, weight_of_teacher = 0.7;
  at::Tensor const x = numbers({rows, 4}, 1, 1), weight = numbers({vocab, 4}, 1, 2), targets = some_targets(rows, vocab);
  ops::LikeliestTokens const tokens = ops::likeliest_tokens(numbers({rows, 5}, 1, 3), numbers({vocab, 5}, 1, 4), temperature, K);
  ops::Distillation const distillation{tokens, weight_of_teacher, temperature};
  Learned const learned = learn(x, weight, targets, distillation);

  double divergences = 0;
  at::Tensor const q = at::softmax(x.mm(weight.t()) / temperature, 1), p = tokens.log_p_NK.exp();
  for (int64_t row = 0; row < rows; ++row) {
    double rest_p = 1, rest_q = 1, divergence = 0;
    for (int64_t k = 0; k < K; ++k) {
      double const p_k = p[row][k].item<double>(), q_k = q[row][tokens.ids_NK[row][k].item<int64_t>()].item<double>();
      divergence += p_k * std::log(p_k / q_k);
      rest_p -= p_k;
      rest_q -= q_k;
    }
    divergence += rest_p * std::log(rest_p / rest_q);
    if (row == 3) divergence = 0;  // has no target
    CHECK(std::abs(learned.divergences[row].item<double>() - divergence) < 1e-12);
    divergences += divergence;
  }
  double const plain = ops::token_losses(x, weight, targets).sum().item<double>();
  CHECK(std::abs(learned.loss.item<double>() - plain - weight_of_teacher * temperature * temperature * divergences) < 1e-11);

  auto const loss_at = [&](at::Tensor const& of_x, at::Tensor const& of_weight) {
    return learn(of_x, of_weight, targets, distillation).loss.item<double>();
  };
  constexpr double h = 1e-5;
  for (at::Tensor const& input : {x, weight}) {
    at::Tensor const gradient = input.is_same(x) ? learned.of_x : learned.of_weight;
    for (int64_t i = 0; i < input.numel(); ++i) {
      double& value = input.mutable_data_ptr<double>()[i];
      double const before = value;
      value = before + h;
      double const above = loss_at(x, weight);
      value = before - h;
      double const below = loss_at(x, weight);
      value = before;
      INFO(i);
      CHECK(std::abs(gradient.reshape({-1})[i].item<double>() - 3 * (above - below) / (2 * h)) < 1e-7);
    }
  }
}

TEST_CASE("likeliest tokens: a rest without probability gives finite gradients in fp32", "[ops]") {
  // The model is sure of the teacher's tokens in the first row, and of another one in the second; the teacher is sure in both.
  at::Tensor const x = at::eye(2, at::kFloat) * 60, weight = at::zeros({9, 2}, at::kFloat);
  weight[4][0] = 1;
  weight[7][1] = 1;
  ops::LikeliestTokens const tokens{at::tensor({4, 2, 4, 2}, at::kInt).view({2, 2}),
                                    at::tensor({-1e-9f, -21.0f, -1e-9f, -21.0f}, at::kFloat).view({2, 2})};
  Learned const learned = learn(x, weight, at::tensor({4, 4}, at::kLong), {tokens, 1, 1});
  CHECK(std::abs(learned.divergences[0].item<float>()) < 1e-5);
  CHECK(std::abs(learned.divergences[1].item<float>() - 60) < 1e-2);  // what the model gives the teacher's token is e^-60
  for (at::Tensor const& gradient : {learned.of_x, learned.of_weight}) CHECK(gradient.isfinite().all().item<bool>());
  CHECK(learned.of_x[0].abs().max().item<float>() < 1e-5);
}
