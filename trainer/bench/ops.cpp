#include "trainer/bench/ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/remainder.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>

#include "core/error.h"
#include "model/ledger/ledger.h"
#include "nn/attention/attend.h"
#include "nn/backend/backend.h"
#include "nn/device.h"
#include "nn/ops/ops.h"
#include "trainer/report/statistics.h"
#include "trainer/train/learner.h"

namespace isobath {

namespace {

using at::Tensor;
using Tensors = std::vector<Tensor>;

// One function of the backend and its inputs. Wide inputs (weights, scores) stay fp32 when the narrow ones are converted to bf16.
struct Op {
  std::string name;
  Tensors narrow, wide, integers;
  std::function<Tensors(Backend const&, Tensors const& narrow, Tensors const& wide, Tensors const& integers)> call;
};

Tensors from(std::tuple<Tensor, Tensor> const& two) { return {std::get<0>(two), std::get<1>(two)}; }

// Attention is not a function of the backend: attend.cpp chooses its implementation by type.
std::function<Tensors(Backend const&, Tensors const&, Tensors const&, Tensors const&)> attention(int64_t B, int64_t K) {
  return [=](Backend const&, Tensors const& narrow, Tensors const&, Tensors const&) {
    at::AutoGradMode const with_gradients(true);
    Tensors leaves;
    for (size_t i = 0; i < 3; ++i) leaves.push_back(narrow[i].detach().requires_grad_());
    Tensor const out = ops::attend(leaves[0], leaves[1], leaves[2], all_rows(B, K, {}, {}, narrow[0].device()));
    out.backward(narrow[3]);
    return Tensors{out.detach(), leaves[0].grad(), leaves[1].grad(), leaves[2].grad()};
  };
}

std::vector<Op> make_ops(Config const& config, int64_t vocab_size, at::Device device) {
  ModelConfig const& model = config.model;
  int64_t const T = model.context, B = micro_batch_sequences(config, device.is_cuda()), N = B * T, D = model.width, H = model.heads,
                G = resolved_kv_heads(model), E = D / H, F = resolved_mlp_width(model),
                K = rows_of_capacity(config.depth.capacity.front(), T), V = std::min<int64_t>(vocab_size, 65536),
                rows_V = std::min<int64_t>(N, 1 << 12);
  double const eps = model.norm_eps;
  at::TensorOptions const options = at::TensorOptions().dtype(at::kFloat).device(device);
  uint64_t key = 0;
  auto const random = [&](at::IntArrayRef shape) {
    int64_t count = 1;
    for (int64_t const size : shape) count *= size;
    return ops::random_normal(++key, count, options).view(shape);
  };
  Tensor const x = random({N, D}), dy = random({N, D}), norm = random({D}), gate_up = random({N, 2 * F}), dhidden = random({N, F}),
               scores = random({B, T}), delta = random({B * K, D}), gate = random({B * K}), logits = 3 * random({rows_V, V});
  Tensor const index = aten_backend().top_k(scores, K), positions = at::arange(N, index.options()).remainder(T),
               targets = at::arange(rows_V, index.options()).mul(7919).remainder(V);
  auto const [cos, sin] = ops::rotary_tables(T, E, model.rope_theta, options);
  Tensor const rstd = std::get<1>(aten_backend().rms_norm(x, norm, eps));

  return {
      {"rms_norm",
       {x},
       {norm},
       {},
       [=](auto const& b, auto const& n, auto const& w, auto const&) { return from(b.rms_norm(n[0], w[0], eps)); }},
      {"rms_norm_backward",
       {dy, x},
       {norm, rstd},
       {},
       [](auto const& b, auto const& n, auto const& w, auto const&) { return from(b.rms_norm_backward(n[0], n[1], w[0], w[1])); }},
      {"row_dot", {x}, {norm}, {}, [](auto const& b, auto const& n, auto const& w, auto const&) { return Tensors{b.row_dot(n[0], w[0])}; }},
      {"row_dot_backward",
       {x},
       {norm, random({N})},
       {},
       [](auto const& b, auto const& n, auto const& w, auto const&) { return from(b.row_dot_backward(w[1], n[0], w[0])); }},
      {"swiglu", {gate_up}, {}, {}, [](auto const& b, auto const& n, auto const&, auto const&) { return Tensors{b.swiglu(n[0])}; }},
      {"swiglu_backward",
       {dhidden, gate_up},
       {},
       {},
       [](auto const& b, auto const& n, auto const&, auto const&) { return Tensors{b.swiglu_backward(n[0], n[1])}; }},
      {"gelu", {dhidden}, {}, {}, [](auto const& b, auto const& n, auto const&, auto const&) { return Tensors{b.gelu(n[0])}; }},
      {"gelu_backward",
       {gate_up, gate_up},
       {},
       {},
       [](auto const& b, auto const& n, auto const&, auto const&) { return Tensors{b.gelu_backward(n[0], n[1])}; }},
      {"split_rotary",
       {random({N, (H + 2 * G) * E})},
       {cos, sin},
       {positions},
       [=](auto const& b, auto const& n, auto const& w, auto const& i) {
         auto const [q, k, v] = b.split_rotary(n[0], H, G, E, i[0], w[0], w[1]);
         return Tensors{q, k, v};
       }},
      {"split_rotary_backward",
       {random({N, H, E}), random({N, G, E}), random({N, G, E})},
       {cos, sin},
       {positions},
       [](auto const& b, auto const& n, auto const& w, auto const& i) {
         return Tensors{b.split_rotary_backward(n[0], n[1], n[2], i[0], w[0], w[1])};
       }},
      {"scatter_add_rows",
       {x, delta},
       {gate},
       {index},
       [](auto const& b, auto const& n, auto const& w, auto const& i) { return Tensors{b.scatter_add_rows(n[0], i[0], n[1], w[0])}; }},
      {"scatter_add_rows_backward",
       {dy, delta},
       {gate},
       {index},
       [](auto const& b, auto const& n, auto const& w, auto const& i) {
         return from(b.scatter_add_rows_backward(n[0], i[0], n[1], w[0]));
       }},
      {"cross_entropy",
       {logits},
       {},
       {targets},
       [](auto const& b, auto const& n, auto const&, auto const& i) {
         Tensor const in_place = n[0].clone(), losses = b.cross_entropy(in_place, i[0], /*gradients=*/true);
         return Tensors{losses, in_place};
       }},
      {"attend and its gradients", {random({N, H, E}), random({N, G, E}), random({N, G, E}), random({N, H * E})}, {}, {}, attention(B, T)},
      {"attend among routed rows",
       {random({B * K, H, E}), random({B * K, G, E}), random({B * K, G, E}), random({B * K, H * E})},
       {},
       {},
       attention(B, K)},
      {"top_k", {}, {scores}, {}, [=](auto const& b, auto const&, auto const& w, auto const&) { return Tensors{b.top_k(w[0], K)}; }},
  };
}

Tensors to_type(Tensors const& tensors, at::ScalarType type) {
  Tensors converted;
  for (Tensor const& x : tensors) converted.push_back(x.to(type));
  return converted;
}

}  // namespace

double largest_difference(Tensors const& a, Tensors const& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    Tensor const x = a[i].to(at::kDouble), y = b[i].to(at::kDouble);
    double const scale = y.abs().max().item<double>(), difference = (x - y).abs().max().item<double>();
    double const share = difference == 0 ? 0 : difference / scale;
    if (!(share <= largest)) largest = share;
    if (std::isnan(largest)) break;
  }
  return largest;
}

std::vector<OpResult> bench_ops(Config const& config, int64_t vocab_size, int64_t repeats) {
  at::NoGradGuard const no_grad;
  at::Device const device = open_device(config.device);
  at::ScalarType const type = config.precision == Precision::bf16 ? at::kBFloat16 : at::kFloat;
  std::vector<OpResult> results;
  for (Op const& op : make_ops(config, vocab_size, device)) {
    Tensors const narrow = to_type(op.narrow, type);
    Backend const &own = backend_for(narrow.empty() ? op.wide[0] : narrow[0]), &aten = aten_backend();
    Tensors const exact = op.call(aten, to_type(narrow, at::kDouble), to_type(op.wide, at::kDouble), op.integers);
    OpResult result;
    result.name = op.name;
    // bfloat16 has 8 significant bits, to which attention rounds its probabilities, too.
    double const roundings = op.name.starts_with("attend") ? 3 : 1;
    result.allowed = op.name == "top_k" ? 0 : roundings * (type == at::kBFloat16 ? 8e-3 : 2e-5);
    try {
      result.difference = largest_difference(op.call(own, narrow, op.wide, op.integers), exact);
    } catch (std::exception const& problem) {  // a GPU reports a fault at the next wait, without the kernel's name
      throw Error(ExitCode::other, "[" + op.name + "] " + problem.what());
    }
    result.aten_difference = largest_difference(op.call(aten, narrow, op.wide, op.integers), exact);
    auto const seconds_of = [&](Backend const& backend) {
      constexpr int calls = 5;
      synchronize(device);
      auto const start = std::chrono::steady_clock::now();
      for (int call = 0; call < calls; ++call) op.call(backend, narrow, op.wide, op.integers);
      synchronize(device);
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls;
    };
    std::vector<double> own_s, aten_s;
    for (int64_t repeat = 0; repeat < repeats; ++repeat) {
      own_s.push_back(seconds_of(own));
      aten_s.push_back(seconds_of(aten));
    }
    result.seconds = median(own_s);
    result.aten_seconds = median(aten_s);
    results.push_back(result);
  }
  return results;
}

}  // namespace isobath
