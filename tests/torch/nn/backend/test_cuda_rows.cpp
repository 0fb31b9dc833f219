// The bodies of the CUDA kernels, run by threads of the CPU, against compositions of ATen in fp64.

#include <ATen/ATen.h>

#include <atomic>
#include <barrier>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "nn/backend/cuda/activation.h"
#include "nn/backend/cuda/cross_entropy.h"
#include "nn/backend/cuda/norm.h"
#include "nn/backend/cuda/rotary.h"
#include "nn/backend/cuda/scatter.h"
#include "nn/backend/cuda/top_k.h"

namespace isobath::test::cuda_rows {

namespace {

using at::Tensor;

// The group that rows.h asks for.
struct Team {
  explicit Team(int size, size_t scratch_bytes)
      : barrier(size), floats(static_cast<size_t>(size)), ints(static_cast<size_t>(size)), scratch(scratch_bytes / 16 + 1) {
    std::memset(scratch.data(), 0xff, scratch.size() * 16);  // NaN and -1: nobody may count on zeros
  }
  struct alignas(16) Line {
    char bytes[16];
  };
  std::barrier<> barrier;
  std::vector<float> floats;
  std::vector<int> ints;
  std::vector<Line> scratch;
};

class Member {
 public:
  Member(Team& team, int rank) : team_(team), rank_(rank) {}

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(team_.ints.size()); }
  void sync() const { team_.barrier.arrive_and_wait(); }
  void increment(int* count) const { std::atomic_ref(*count).fetch_add(1, std::memory_order_relaxed); }
  void* scratch() const { return team_.scratch.data(); }

  float sum(float value) const {
    return reduce(value, [](float a, float b) { return a + b; });
  }
  float max(float value) const {
    return reduce(value, [](float a, float b) { return a > b ? a : b; });
  }
  int scan(int value, int& total) const {
    team_.ints[static_cast<size_t>(rank_)] = value;
    sync();
    int before = 0;
    total = 0;
    for (int i = 0; i < size(); ++i) {
      if (i == rank_) before = total;
      total += team_.ints[static_cast<size_t>(i)];
    }
    sync();
    return before;
  }

 private:
  template <typename F>
  float reduce(float value, F combine) const {
    team_.floats[static_cast<size_t>(rank_)] = value;
    sync();
    float result = team_.floats[0];
    for (size_t i = 1; i < team_.floats.size(); ++i) result = combine(result, team_.floats[i]);
    sync();
    return result;
  }

  Team& team_;
  int rank_;
};

template <typename Body>
void run(int threads, int64_t rows, Body const& body, size_t scratch_bytes = 0) {
  Team team(threads, scratch_bytes);
  std::vector<std::thread> members;
  for (int rank = 0; rank < threads; ++rank)
    members.emplace_back([&, rank] {
      Member const member(team, rank);
      for (int64_t row = 0; row < rows; ++row) {
        body(member, row);
        member.sync();
      }
    });
  for (std::thread& member : members) member.join();
}

int any_threads() { return GENERATE(1, 3, 16); }

// Every element type and width of access that the plug-in has, of those that fit rows of `width`.
template <typename F>
void every_kind(int64_t width, F f) {
  f.template operator()<float, 1>();
  f.template operator()<at::BFloat16, 1>();
  if (width % 4 == 0) f.template operator()<float, 4>();
  if (width % 8 == 0) f.template operator()<at::BFloat16, 8>();
}

template <typename T>
Tensor blank(at::IntArrayRef shape) {
  return at::full(shape, std::numeric_limits<double>::quiet_NaN(), c10::CppTypeToScalarType<T>::value);
}

template <typename T>
Tensor numbers(at::IntArrayRef shape, double scale, double phase) {
  return (at::sin(at::arange(c10::multiply_integers(shape), at::kDouble) * 1.7 + phase) * scale)
      .view(shape)
      .to(c10::CppTypeToScalarType<T>::value);
}

template <typename T = float>
T* data(Tensor const& x) {
  return x.mutable_data_ptr<T>();
}

Tensor exact(Tensor const& x) { return x.to(at::kDouble).detach().requires_grad_(); }

// One rounding to the element type, and fp32 noise in proportion to the largest.
bool close(Tensor const& a, Tensor const& b_in, double noise = 1e-5) {
  Tensor const b = b_in.detach();
  if (a.numel() == 0) return b.numel() == 0;
  Tensor const allowed = b.abs() * (a.scalar_type() == at::kBFloat16 ? 1.0 / 256 : 0.0) + b.abs().max() * noise;
  return a.sizes() == b.sizes() && (a.to(at::kDouble) - b).abs().le(allowed).all().item<bool>();
}

}  // namespace

TEST_CASE("rms_norm on a GPU's threads", "[cuda]") {
  int const threads = any_threads(), D = GENERATE(1, 7, 64, 520);
  int64_t const R = GENERATE(1, 11);
  every_kind(D, [&]<typename T, int N>() {
    Tensor const x = numbers<T>({R, D}, 3, 0), weight = numbers<float>({D}, 1, 1), dy = numbers<T>({R, D}, 1, 2);
    Tensor const x_exact = exact(x), weight_exact = exact(weight);
    Tensor const rstd_exact = (x_exact.square().mean(-1, true) + 1e-5).rsqrt(), y_exact = x_exact * rstd_exact * weight_exact;
    y_exact.backward(dy.to(at::kDouble));

    Tensor const y = blank<T>({R, D}), rstd = blank<float>({R});
    run(threads, R, cuda::RmsNorm<T, N>{data<T>(x), data(weight), data<T>(y), data(rstd), D, 1e-5f});
    CHECK(close(y, y_exact));
    CHECK(close(rstd, rstd_exact.squeeze(1)));

    for (int64_t parts : {int64_t{1}, (R + 2) / 3, R})
      for (bool scratch : {false, true}) {
        Tensor const dx = blank<T>({R, D}), dweight = blank<float>({parts, D});
        run(threads, parts,
            cuda::RmsNormBackward<T, N>{data<T>(dy), data<T>(x), data(weight), data(rstd), data<T>(dx), data(dweight), R, parts, D,
                                        scratch},
            scratch ? static_cast<size_t>(D) * sizeof(float) : 0);
        CHECK(close(dx, x_exact.grad()));
        CHECK(close(dweight.sum(0), weight_exact.grad()));
      }
  });
}

TEST_CASE("row_dot on a GPU's threads", "[cuda]") {
  int const threads = any_threads(), D = GENERATE(1, 7, 64, 520);
  int64_t const R = GENERATE(1, 11);
  every_kind(D, [&]<typename T, int N>() {
    Tensor const x = numbers<T>({R, D}, 3, 0), weight = numbers<float>({D}, 1, 1), dy = numbers<float>({R}, 1, 2);
    Tensor const x_exact = exact(x), weight_exact = exact(weight), y_exact = x_exact.mv(weight_exact);
    y_exact.backward(dy.to(at::kDouble));
    Tensor const y = blank<float>({R});
    run(threads, R, cuda::RowDot<T, N>{data<T>(x), data(weight), data(y), D});
    CHECK(close(y, y_exact, 1e-4));
    for (int64_t parts : {int64_t{1}, (R + 2) / 3, R})
      for (bool scratch : {false, true}) {
        Tensor const dx = blank<T>({R, D}), dweight = blank<float>({parts, D});
        run(threads, parts,
            cuda::RowDotBackward<T, N>{data(dy), data<T>(x), data(weight), data<T>(dx), data(dweight), R, parts, D, scratch},
            scratch ? static_cast<size_t>(D) * sizeof(float) : 0);
        CHECK(close(dx, x_exact.grad()));
        CHECK(close(dweight.sum(0), weight_exact.grad()));
      }
  });
}

TEST_CASE("swiglu on a GPU's threads", "[cuda]") {
  int const threads = any_threads(), F = GENERATE(1, 5, 48, 264);
  int64_t const R = GENERATE(1, 6);
  double const scale = GENERATE(3.0, 300.0);
  every_kind(F, [&]<typename T, int N>() {
    Tensor const gate_up = numbers<T>({R, 2 * F}, scale, 0), dy = numbers<T>({R, F}, 1, 1), gate_up_exact = exact(gate_up);
    auto const halves = gate_up_exact.chunk(2, -1);
    Tensor const y_exact = at::silu(halves[0]) * halves[1];
    y_exact.backward(dy.to(at::kDouble));

    Tensor const y = blank<T>({R, F}), dgate_up = blank<T>({R, 2 * F});
    run(threads, R, cuda::SwiGlu<T, N>{data<T>(gate_up), data<T>(y), F});
    run(threads, R, cuda::SwiGluBackward<T, N>{data<T>(dy), data<T>(gate_up), data<T>(dgate_up), F});
    CHECK(close(y, y_exact));
    CHECK(close(dgate_up, gate_up_exact.grad()));
  });
}

TEST_CASE("gelu on a GPU's threads", "[cuda]") {
  int const threads = any_threads(), width = 32;
  int64_t const count = GENERATE(1, 8, 31, 32, 96, 104);  // the last row may be short
  double const scale = GENERATE(3.0, 1000.0);
  every_kind(count, [&]<typename T, int N>() {
    Tensor const x = numbers<T>({count}, scale, 0), dy = numbers<T>({count}, 1, 1), x_exact = exact(x), y_exact = at::gelu(x_exact, "tanh");
    y_exact.backward(dy.to(at::kDouble));

    Tensor const y = blank<T>({count}), dx = blank<T>({count});
    run(threads, (count + width - 1) / width, cuda::Gelu<T, N>{data<T>(x), data<T>(y), count, width});
    run(threads, (count + width - 1) / width, cuda::GeluBackward<T, N>{data<T>(dy), data<T>(x), data<T>(dx), count, width});
    CHECK(close(y, y_exact));
    CHECK(close(dx, x_exact.grad()));
  });
}

TEST_CASE("split_rotary on a GPU's threads", "[cuda]") {
  int const threads = any_threads(), head_dim = GENERATE(2, 6, 16, 64);
  auto const [heads, kv_heads] = GENERATE(std::pair(1, 1), std::pair(4, 4), std::pair(6, 2));
  int64_t const H = heads, G = kv_heads, E = head_dim, T_rows = 9;
  Tensor const positions = at::tensor({3, 8, 0, 0, 5}, at::kLong);
  int64_t const R = positions.size(0);
  every_kind(E / 2, [&, heads = heads, kv_heads = kv_heads]<typename T, int N>() {
    Tensor const qkv = numbers<T>({R, (H + 2 * G) * E}, 2, 0), cos = numbers<float>({T_rows, E / 2}, 1, 1),
                 sin = numbers<float>({T_rows, E / 2}, 1, 2), qkv_exact = exact(qkv);
    auto const rotated = [&](Tensor const& x) {
      Tensor const c = cos.to(at::kDouble).index_select(0, positions).unsqueeze(1),
                   s = sin.to(at::kDouble).index_select(0, positions).unsqueeze(1);
      auto const halves = x.chunk(2, -1);
      return at::cat({halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s}, -1);
    };
    auto const parts = qkv_exact.split_with_sizes({H * E, G * E, G * E}, 1);
    Tensor const q_exact = rotated(parts[0].unflatten(1, {H, E})), k_exact = rotated(parts[1].unflatten(1, {G, E})),
                 v_exact = parts[2].unflatten(1, {G, E});
    Tensor const dq = numbers<T>({R, H, E}, 1, 3), dk = numbers<T>({R, G, E}, 1, 4), dv = numbers<T>({R, G, E}, 1, 5);
    ((q_exact * dq).sum() + (k_exact * dk).sum() + (v_exact * dv).sum()).backward();

    Tensor const q = blank<T>({R, H, E}), k = blank<T>({R, G, E}), v = blank<T>({R, G, E}), dqkv = blank<T>(qkv.sizes());
    run(threads, R,
        cuda::SplitRotary<T, N, false>{data<T>(qkv), data<T>(q), data<T>(k), data<T>(v), data<int64_t>(positions), data(cos), data(sin),
                                       heads, kv_heads, head_dim});
    run(threads, R,
        cuda::SplitRotary<T, N, true>{data<T>(dqkv), data<T>(dq), data<T>(dk), data<T>(dv), data<int64_t>(positions), data(cos), data(sin),
                                      heads, kv_heads, head_dim});
    CHECK(close(q, q_exact));
    CHECK(close(k, k_exact));
    CHECK(close(v, v_exact, 0));
    CHECK(close(dqkv, qkv_exact.grad()));
  });
}

TEST_CASE("scatter_add_rows on a GPU's threads", "[cuda]") {
  int const threads = any_threads(), D = GENERATE(1, 7, 64, 264);
  bool const weighted = GENERATE(true, false);
  Tensor const index = at::tensor({6, 0, 3}, at::kLong);
  int64_t const N_rows = 7, R = index.size(0);
  every_kind(D, [&]<typename T, int N>() {
    Tensor const x = numbers<T>({N_rows, D}, 3, 0), delta = numbers<T>({R, D}, 2, 1), weight = numbers<float>({R}, 2, 2),
                 dy = numbers<T>({N_rows, D}, 1, 3), x_exact = exact(x), delta_exact = exact(delta), weight_exact = exact(weight);
    Tensor const y_exact = x_exact.index_add(0, index, weighted ? weight_exact.unsqueeze(1) * delta_exact : delta_exact);
    y_exact.backward(dy.to(at::kDouble));

    Tensor const y = x.clone(), ddelta = blank<T>({R, D}), dweight = blank<float>({R});
    float const* const weights = weighted ? data(weight) : nullptr;
    run(threads, R, cuda::ScatterAddRows<T, N>{data<T>(y), data<int64_t>(index), data<T>(delta), weights, D});
    run(threads, R,
        cuda::ScatterAddRowsBackward<T, N>{data<T>(dy), data<int64_t>(index), data<T>(delta), weights, data<T>(ddelta),
                                           weighted ? data(dweight) : nullptr, D});
    CHECK(close(y, y_exact));
    CHECK(close(ddelta, delta_exact.grad()));
    if (weighted) CHECK(close(dweight, weight_exact.grad()));
  });
}

TEST_CASE("cross_entropy on a GPU's threads", "[cuda]") {
  int const threads = any_threads(), V = GENERATE(3, 8, 40, 1000);
  double const scale = GENERATE(0.0, 5.0, 1e4);
  bool const gradients = GENERATE(true, false);
  Tensor const targets = at::tensor({int64_t{0}, int64_t{-1}, int64_t{V - 1}, int64_t{V / 2}, int64_t{-100}}, at::kLong);
  int64_t const R = targets.size(0);
  every_kind(V, [&]<typename T, int N>() {
    Tensor const logits = numbers<T>({R, V}, scale, 0);
    logits.select(0, 2).slice(0, 0, V - 1).fill_(-std::numeric_limits<float>::infinity());  // an impossible token is no NaN
    logits.select(0, 3).add_(scale);
    Tensor const logits_exact = exact(logits), keep = targets.ge(0).to(at::kDouble);
    Tensor const losses_exact = keep * (logits_exact.logsumexp(1) - logits_exact.gather(1, targets.clamp_min(0).unsqueeze(1)).squeeze(1));
    losses_exact.sum().backward();

    Tensor const losses = blank<float>({R});
    run(threads, R, cuda::CrossEntropy<T, N>{data<T>(logits), data<int64_t>(targets), data(losses), V, gradients});
    CHECK(close(losses, losses_exact));
    if (gradients) CHECK(close(logits, logits_exact.grad()));
  });
}

TEST_CASE("a NaN among the logits shows in the loss", "[cuda]") {
  Tensor const logits = at::zeros({1, 10}), targets = at::zeros({1}, at::kLong), losses = at::zeros({1});
  logits.select(1, 7).fill_(std::numeric_limits<float>::quiet_NaN());
  run(3, 1, cuda::CrossEntropy<float, 1>{data(logits), data<int64_t>(targets), data(losses), 10, false});
  CHECK(std::isnan(losses.item<float>()));
}

TEST_CASE("top_k on a GPU's threads", "[cuda]") {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  // More threads than scores, a few more scores than threads, many more; many threads are slow on a CPU.
  auto const [threads, T, K] =
      GENERATE(table<int, int, int>({{1, 1, 1}, {1, 33, 20}, {1, 300, 88}, {1, 300, 300}, {16, 9, 1}, {16, 17, 10}, {16, 300, 88}}));
  int64_t const B = 2;
  Tensor scores = numbers<float>({B, T}, 2, 0.5);
  SECTION("distinct") {}
  SECTION("many ties, zeros of both signs") { scores = scores.round(); }
  SECTION("all equal") { scores = at::full({B, T}, -0.25f); }
  SECTION("neighbours that differ in the last bits only") {
    scores = at::full({B, T}, 1.0f);
    scores = (scores.view(at::kInt) + (at::arange(B * T, at::kInt).view({B, T}) * 7919).remainder(2048)).view(at::kFloat);
  }
  SECTION("infinities and NaN of both signs") {
    Tensor const special = at::tensor({inf, -inf, nan, -nan, 0.0f, -0.0f, 3e38f, -3e38f, 1e-45f, -1e-45f, 1.0f});
    scores = special.index_select(0, (at::arange(B * T, at::kLong) * 7 + 3).remainder(special.size(0))).view({B, T}).contiguous();
  }
  Tensor const index = at::full({B * K + 1}, -1, at::kLong);
  run(threads, B, cuda::TopK{data(scores), data<int64_t>(index), T, K}, sizeof(cuda::TopK::Scratch));

  Tensor const order = std::get<1>(at::sort(scores, /*stable=*/true, 1, /*descending=*/true));
  Tensor const expected = std::get<0>(order.narrow(1, 0, K).sort(1)) + at::arange(B, at::kLong).unsqueeze(1) * T;
  CHECK(index.narrow(0, 0, B * K).equal(expected.reshape({-1})));
  CHECK(index[-1].item<int64_t>() == -1);  // no tie too many
}

}  // namespace isobath::test::cuda_rows
