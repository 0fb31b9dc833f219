#include "nn/router/router.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "core/random.h"
#include "nn/ops/ops.h"

namespace isobath {

namespace {

// Half-way between the `rows`-th best value and the next, so that it equals neither.
at::Tensor separating_value(at::Tensor const& value_N, int64_t rows) {
  int64_t const count = value_N.numel();
  at::Tensor const best = std::get<0>(value_N.reshape({-1}).topk(std::min(rows + 1, count)));
  return 0.5 * (best.select(0, rows - 1) + best.select(0, best.size(0) - 1));
}

// The name under which a module registers what is stored as "router.up.weight": "score_up"; "router.weight" is "weight".
std::string registered_name(std::string const& stored) {
  size_t const first = stored.find('.') + 1, last = stored.rfind('.');
  return first > last ? stored.substr(first) : "score_" + stored.substr(first, last - first);
}

}  // namespace

RouterImpl::RouterImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size)
    : gate_kind(depth.gate),
      causal(depth.causal),
      score_of(router_score(depth.router)),
      random(router_kind(depth.router).random),
      normalises(depth.router_input == RouterInputForm::normalised),
      bce_detach(depth.bce_detach),
      z_loss(depth.z_loss_weight > 0),
      gate_alpha(depth.gate == Gate::sigmoid2 ? 2 : depth.gate_alpha),
      score_noise(depth.score_noise),
      threshold_decay(depth.threshold_decay),
      declared(router_parameters(model, depth, vocab_size)) {
  for (RouterParameter const& parameter : declared)
    parameters_of_score.push_back(register_parameter(registered_name(parameter.name), at::empty(parameter.shape)));
  if (causal == Causal::none || causal == Causal::threshold) threshold = register_buffer("threshold", at::zeros({2}));
  cut = register_buffer("cut", at::zeros({1}));
  if (causal == Causal::predictor) {
    int64_t const hidden = resolved_predictor_width(model, depth);
    up_PD = register_parameter("up", at::empty({hidden, model.width}));
    up_bias_P = register_parameter("up_bias", at::empty({hidden}));
    down_1P = register_parameter("down", at::empty({1, hidden}));
    down_bias = register_parameter("down_bias", at::empty({1}));
  }
}

at::Tensor RouterImpl::score(RouterInput const& input) const {
  if (!normalises) return score_of(parameters_of_score, input);
  RouterInput scaled = input;
  scaled.x_ND = ops::unit_rms(input.x_ND);
  return score_of(parameters_of_score, scaled);
}

at::Tensor RouterImpl::select(at::Tensor const& score_BT, at::Tensor const& segments_BT, int64_t K, Rows const& rows,
                              uint64_t noise_key) const {
  at::Tensor by_BT = score_BT.detach();
  if (score_noise > 0 && is_training() && at::GradMode::is_enabled()) {
    at::Tensor const noise_N =
        ops::random_normal(make_key({noise_key, hash_text("score_noise")}), noise_counters(rows), score_BT.options());
    by_BT = by_BT.add(noise_N.view_as(score_BT), score_noise);
  }
  return segments_BT.defined() ? ops::top_k_of_documents(by_BT, segments_BT, K) : ops::top_k(by_BT, K);
}

at::Tensor RouterImpl::gate(at::Tensor const& score_R) const {
  switch (gate_kind) {
    case Gate::raw:
      return score_R;
    case Gate::sigmoid:
    case Gate::sigmoid2:
      return gate_alpha == 1 ? score_R.sigmoid() : gate_alpha * score_R.sigmoid();
    case Gate::tanh:
      return 1 + 0.2 * score_R.tanh();
    case Gate::none:
      break;
  }
  return {};
}

at::Tensor RouterImpl::causal_logit(RouterInput const& input, at::Tensor const& score_N) const {
  switch (causal) {
    case Causal::bce:
      if (!bce_detach) return score_N;
      return score({input.x_ND.detach(), input.tokens_N, input.rows, input.noise_key});
    case Causal::none:
    case Causal::threshold:
      return score_N - threshold.select(0, 0);
    case Causal::predictor:
      break;
  }
  at::Tensor const normed_ND = ops::unit_rms(input.x_ND.detach());
  at::Tensor const hidden_NP = at::silu(ops::linear(normed_ND, up_PD) + up_bias_P.to(normed_ND.scalar_type()));
  return ops::row_dot(hidden_NP, down_1P.squeeze(0)) + down_bias;
}

bool RouterImpl::has_decision() const {
  return random || !threshold.defined() || threshold[1].item<double>() > 0 || cut.item<double>() != 0;
}

at::Tensor RouterImpl::z_loss_sum(at::Tensor const& score_N) const { return at::softplus(score_N).square().sum(); }

void RouterImpl::update_threshold(at::Tensor const& score_N, int64_t rows, at::Tensor const& updated) {
  at::NoGradGuard no_grad;
  at::Tensor const quantile = separating_value(score_N, rows);
  at::Tensor const good = score_N.isfinite().all().logical_and(updated);
  // 1/(n+1) until that falls below 1 - threshold_decay, so that the first updates form a plain average.
  at::Tensor const rate = (1 / (threshold.select(0, 1) + 1)).clamp_min(1 - threshold_decay);
  at::Tensor const value = threshold.select(0, 0);
  value.add_(rate * (at::where(good, quantile, value) - value));
  threshold.select(0, 1).add_(good);
}

void RouterImpl::calibrate(at::Tensor const& logit_N, int64_t rows) {
  at::NoGradGuard no_grad;
  cut.copy_(balanced_threshold(logit_N, rows));
}

at::Tensor balanced_threshold(at::Tensor const& value_N, int64_t rows) {
  at::Tensor const sorted_N = std::get<0>(value_N.sort(0, /*descending=*/true)), last = sorted_N.select(0, rows - 1);
  // Equal values stay together: those equal to the `rows`-th are let through or not, whichever brings the number nearer to `rows`.
  at::Tensor const with = value_N.ge(last).sum(), without = value_N.gt(last).sum();
  at::Tensor const let_through = at::where((with - rows).le(rows - without), with, without).view({1});
  at::Tensor const bounded = at::cat({sorted_N.narrow(0, 0, 1) + 1, sorted_N, sorted_N.narrow(0, -1, 1) - 1});
  at::Tensor const high = bounded.index_select(0, let_through), low = bounded.index_select(0, let_through + 1), middle = 0.5 * (low + high);
  return at::where(middle.lt(high), middle, low);  // between adjacent floating-point numbers the middle is rounded to one of the two
}

void RouterImpl::weights(std::string const& layer, double base_rate, WeightList& list) const {
  for (size_t i = 0; i < declared.size(); ++i)
    list.random(layer + declared[i].name, parameters_of_score[i], Role::router, declared[i].init_std);
  list.buffer(layer + "router.threshold", threshold, 0);
  list.buffer(layer + "router.cut", cut, 0, /*optional=*/true);
  if (!up_PD.defined()) return;
  list.random(layer + "predictor.up.weight", up_PD, Role::predictor, 1 / std::sqrt(static_cast<double>(up_PD.size(1))));
  list.constant(layer + "predictor.up.bias", up_bias_P, Role::predictor, 0);
  list.random(layer + "predictor.down.weight", down_1P, Role::predictor, 1 / std::sqrt(static_cast<double>(up_PD.size(0))));
  // Starts at the base rate: a fresh predictor already selects about as many tokens as the capacity.
  double const rate = std::min(base_rate, 0.999);
  list.constant(layer + "predictor.down.bias", down_bias, Role::predictor, std::log(rate / (1 - rate)));
}

}  // namespace isobath
