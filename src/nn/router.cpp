#include "nn/router.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "nn/ops.h"

namespace isobath {

namespace {

template <typename Enum>
Enum pick(std::string const& value, std::initializer_list<std::pair<char const*, Enum>> choices, char const* key) {
  std::string allowed;
  for (auto const& [name, choice] : choices) {
    if (value == name) return choice;
    allowed += (allowed.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(ExitCode::config, std::string(key) + " is '" + value + "'; allowed are " + allowed);
}

// Scores are never narrow.
at::TensorOptions wide_options(at::Tensor const& x) { return x.scalar_type() == at::kDouble ? x.options() : x.options().dtype(at::kFloat); }

}  // namespace

RouterImpl::RouterImpl(ModelConfig const& model, DepthConfig const& depth)
    : kind(pick<Score>(depth.router, {{"linear", Score::linear}, {"random", Score::random}}, "depth.router")),
      gate_kind(pick<Gate>(
          depth.gate,
          {{"raw", Gate::raw}, {"sigmoid", Gate::sigmoid}, {"sigmoid2", Gate::sigmoid2}, {"tanh", Gate::tanh}, {"none", Gate::none}},
          "depth.gate")),
      causal(pick<Causal>(depth.causal, {{"none", Causal::none}, {"bce", Causal::bce}, {"predictor", Causal::predictor}}, "depth.causal")),
      threshold_decay(depth.threshold_decay) {
  if (kind == Score::linear) weight_D = register_parameter("weight", at::empty({model.width}));
  if (causal == Causal::none) threshold = register_buffer("threshold", at::zeros({2}));
  if (causal == Causal::predictor) {
    int64_t const hidden = resolved_predictor_width(model, depth);
    up_PD = register_parameter("up", at::empty({hidden, model.width}));
    up_bias_P = register_parameter("up_bias", at::empty({hidden}));
    down_1P = register_parameter("down", at::empty({1, hidden}));
    down_bias = register_parameter("down_bias", at::empty({1}));
  }
}

at::Tensor RouterImpl::score(at::Tensor const& x_ND, uint64_t noise_key) const {
  if (kind == Score::linear) return ops::row_dot(x_ND, weight_D);
  return ops::random_normal(noise_key, x_ND.size(0), wide_options(x_ND));
}

at::Tensor RouterImpl::gate(at::Tensor const& score_R) const {
  switch (gate_kind) {
    case Gate::raw:
      return score_R;
    case Gate::sigmoid:
      return score_R.sigmoid();
    case Gate::sigmoid2:
      return 2 * score_R.sigmoid();
    case Gate::tanh:
      return 1 + 0.2 * score_R.tanh();
    case Gate::none:
      break;
  }
  return {};
}

at::Tensor RouterImpl::causal_logit(at::Tensor const& x_ND, at::Tensor const& score_N) const {
  switch (causal) {
    case Causal::bce:
      return score_N;
    case Causal::none:
      return score_N - threshold.select(0, 0);
    case Causal::predictor:
      break;
  }
  // The residual stream grows with depth; the norm (without weights) keeps the predictor's input at one scale.
  at::Tensor const normed_ND = ops::rms_norm(x_ND.detach(), at::ones({x_ND.size(1)}, wide_options(x_ND)), 1e-6);
  at::Tensor const hidden_NP = at::silu(ops::linear(normed_ND, up_PD) + up_bias_P.to(x_ND.scalar_type()));
  return ops::row_dot(hidden_NP, down_1P.squeeze(0)) + down_bias;
}

void RouterImpl::update_threshold(at::Tensor const& score_BT, int64_t K) {
  if (!threshold.defined()) return;
  at::NoGradGuard no_grad;
  at::Tensor const quantile = std::get<0>(score_BT.reshape({-1}).topk(score_BT.size(0) * K)).amin();
  at::Tensor const finite = quantile.isfinite();  // scores that are not finite change nothing
  // 1/(n+1) until the running mean's own weight is smaller, so that the first updates are a plain average.
  at::Tensor const rate = (1 / (threshold.select(0, 1) + 1)).clamp_min(1 - threshold_decay);
  at::Tensor const value = threshold.select(0, 0);
  value.add_(rate * (at::where(finite, quantile, value) - value));
  threshold.select(0, 1).add_(finite);
}

}  // namespace isobath
