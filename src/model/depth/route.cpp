#include "model/depth/route.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "model/ledger/ledger.h"
#include "nn/ops/ops.h"

namespace isobath {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

at::Tensor of_candidates(at::Tensor const& value_N, Route const* before) {
  return before ? value_N.index_select(0, before->index_R) : value_N;
}

// The causal decision, bool [B, T]: depends on no later token.
at::Tensor decide(RouterImpl const& router, at::Tensor const& logit_N, Rows const& rows, Route const* before, double capacity) {
  int64_t const B = rows.sequences, T = rows.longest;
  at::Tensor causal_BT = capacity >= 1          ? at::ones({B, T}, logit_N.options().dtype(at::kBool))
                         : router.is_training() ? logit_N.detach().gt(0).view({B, T})
                                                : logit_N.detach().gt(router.cut).view({B, T});
  return before ? causal_BT.logical_and(before->layer.executed_BT) : causal_BT;
}

// Adds the loss of the causal decision, whose target is top-k's selection, and the z-loss of the scores.
void add_losses(RouterImpl const& router, at::Tensor const& logit_N, Route const* before, Route& result) {
  if (router.causal == Causal::bce || router.causal == Causal::predictor) {
    at::Tensor const picked_N = result.layer.topk_BT.view({-1}).to(logit_N.scalar_type());
    at::Tensor const loss = ops::binary_cross_entropy_sum(of_candidates(logit_N, before), of_candidates(picked_N, before));
    (router.causal == Causal::bce ? result.router_loss : result.predictor_loss) = loss;
  }
  if (router.z_loss) result.z_loss = router.z_loss_sum(of_candidates(result.score_N, before));
}

}  // namespace

Route route(RouterImpl& router, RouterInput const& input, ForwardContext const& context, Route const* before, double capacity,
            at::Tensor const& replay_BT) {
  Rows const& rows = context.rows;
  int64_t const B = rows.sequences, T = rows.longest, K = rows_of_capacity(capacity, T);
  Route result;
  result.score_N = router.score(input);
  at::Tensor const logit_N = router.causal_logit(input, result.score_N);
  at::Tensor const causal_BT = decide(router, logit_N, rows, before, capacity);
  if (rows.cache) {  // text is generated, which needs nothing but the selected tokens
    result.layer.executed_BT = result.layer.causal_BT = causal_BT;
    result.layer.score_BT = result.score_N.view({B, T});
    result.selected = select_ragged(rows, causal_BT, result.index_R);
    return result;
  }

  at::Tensor const score_BT = result.score_N.detach().view({B, T});
  at::Tensor const by_BT = before ? score_BT.masked_fill(before->layer.executed_BT.logical_not(), -infinity) : score_BT;
  at::Tensor const segments_BT = rows.segments_R.defined() ? rows.segments_R.view({B, T}) : at::Tensor();
  result.index_R = router.select(by_BT, segments_BT, K, rows, input.noise_key);
  at::Tensor topk_BT = at::zeros({B * T}, input.x_ND.options().dtype(at::kBool)).index_fill_(0, result.index_R, true).view({B, T});
  if (before) topk_BT = topk_BT.logical_and(before->layer.executed_BT);  // under causal routing there may be fewer than K candidates
  bool const topk = context.routing == Routing::topk;
  at::Tensor const executed_BT = topk ? topk_BT : replay_BT.defined() ? replay_BT : causal_BT;
  result.selected = topk ? select_rows(rows, result.index_R, K) : select_ragged(rows, executed_BT, result.index_R);
  result.layer = {executed_BT, topk_BT, causal_BT, by_BT};
  if (!at::GradMode::is_enabled() && capacity < 1 && !router.random) {
    at::Tensor const margin_BT = (router.is_training() ? logit_N : logit_N - router.cut).abs().view({B, T});
    result.layer.margin_BT = before ? margin_BT.masked_fill(before->layer.executed_BT.logical_not(), infinity) : margin_BT;
  }
  add_losses(router, logit_N, before, result);
  return result;
}

void RouterCalibration::add(RouterImpl const& router, RouterInput const& input, Route const* before, double capacity) {
  int64_t const candidates = before ? before->selected.count : input.rows.count;
  if (candidates == 0) return;
  logits_N_.push_back(of_candidates(router.causal_logit(input, router.score(input)).detach(), before));
  rows_ += std::min(input.rows.sequences * rows_of_capacity(capacity, input.rows.longest), candidates);
}

void RouterCalibration::finish(RouterImpl& router, AcrossRanks const& ranks) const {
  at::Tensor const logit_N = ranks.joined(logits_N_.empty() ? at::empty({0}, router.cut.options()) : at::cat(logits_N_));
  int64_t const rows = ranks.joined(at::full({1}, rows_, at::kLong)).sum().item<int64_t>();
  if (logit_N.numel() > 0) router.calibrate(logit_N, rows);
}

void add_threshold_statistics(RouterImpl const& router, Route const& route, Route const* before, double capacity, Rows const& rows,
                              ModelOutput& output) {
  if (!router.threshold.defined()) return;
  output.statistics.push_back(of_candidates(route.score_N.detach(), before));
  output.statistics.push_back(at::full({1}, rows.sequences * rows_of_capacity(capacity, rows.longest), at::kLong));  // on the host
}

void update_threshold(RouterImpl& router, std::vector<at::Tensor> const& statistics, size_t& next, at::Tensor const& updated) {
  if (!router.threshold.defined()) return;
  at::Tensor const &score_N = statistics.at(next), &rows = statistics.at(next + 1);
  next += 2;
  if (score_N.numel() > 0) router.update_threshold(score_N, std::min(rows.sum().item<int64_t>(), score_N.numel()), updated);
}

void RouterLosses::add(Route const& route) {
  auto const add_to = [](at::Tensor& sum, at::Tensor const& term) {
    if (term.defined()) sum = sum.defined() ? sum + term : term;
  };
  add_to(router_, route.router_loss);
  add_to(predictor_, route.predictor_loss);
  add_to(z_, route.z_loss);
}

void RouterLosses::report(ModelOutput& output, int64_t tokens, size_t routers) const {
  double const share = 1.0 / static_cast<double>(tokens * static_cast<int64_t>(routers));
  if (router_.defined()) output.router_loss = router_ * share;
  if (predictor_.defined()) output.predictor_loss = predictor_ * share;
  if (z_.defined()) output.z_loss = z_ * share;
}

}  // namespace isobath
