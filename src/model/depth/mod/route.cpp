#include "model/depth/mod/route.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "model/ledger/ledger.h"
#include "nn/ops/ops.h"

namespace isobath {

Route route(RouterImpl& router, RouterInput const& input, Rows const& rows, Route const* before, double capacity, double trained_capacity,
            Routing routing, at::Tensor const& replay_BT) {
  int64_t const B = rows.sequences, T = rows.longest, K = rows_of_capacity(capacity, T);
  int64_t const candidates = before ? before->selected.count : B * T;
  auto const of_candidates = [&](at::Tensor const& value_N) { return before ? value_N.index_select(0, before->index_R) : value_N; };

  Route result;
  result.score_N = router.score(input);
  at::Tensor const logit_N = router.causal_logit(input, result.score_N);
  if (routing == Routing::calibrate && candidates > 0) router.calibrate(of_candidates(logit_N.detach()), std::min(B * K, candidates));
  at::Tensor decided_BT = capacity >= 1          ? at::ones({B, T}, input.x_ND.options().dtype(at::kBool))
                          : router.is_training() ? logit_N.detach().gt(0).view({B, T})
                                                 : logit_N.detach().gt(router.cut).view({B, T});
  if (before) decided_BT = decided_BT.logical_and(before->layer.ran_BT);
  if (rows.cache) {  // text is generated: who goes on is all that it wants to know
    result.layer.ran_BT = result.layer.decided_BT = decided_BT;
    result.layer.score_BT = result.score_N.view({B, T});
    result.selected = select_ragged(rows, decided_BT, result.index_R);
    return result;
  }

  at::Tensor const score_BT = result.score_N.detach().view({B, T});
  at::Tensor const by_BT =
      before ? score_BT.masked_fill(before->layer.ran_BT.logical_not(), -std::numeric_limits<double>::infinity()) : score_BT;
  at::Tensor const segments_BT = rows.segments_R.defined() ? rows.segments_R.view({B, T}) : at::Tensor();
  result.index_R = router.select(by_BT, segments_BT, K, input.noise_key);
  at::Tensor picked_BT = at::zeros({B * T}, input.x_ND.options().dtype(at::kBool)).index_fill_(0, result.index_R, true).view({B, T});
  if (before) picked_BT = picked_BT.logical_and(before->layer.ran_BT);  // under causal routing fewer than K may be left
  at::Tensor const ran_BT = routing == Routing::topk ? picked_BT : replay_BT.defined() ? replay_BT : decided_BT;
  result.selected = routing == Routing::topk ? select_rows(rows, result.index_R, K) : select_ragged(rows, ran_BT, result.index_R);
  result.layer = {ran_BT, picked_BT, decided_BT, by_BT};
  if (!at::GradMode::is_enabled() && capacity < 1 && !router.random) {
    at::Tensor const margin_BT = (router.is_training() ? logit_N : logit_N - router.cut).abs().view({B, T});
    result.layer.margin_BT =
        before ? margin_BT.masked_fill(before->layer.ran_BT.logical_not(), std::numeric_limits<double>::infinity()) : margin_BT;
  }

  // losses of the causal decision, whose target is top-k's choice
  if (router.causal == RouterImpl::Causal::bce || router.causal == RouterImpl::Causal::predictor) {
    at::Tensor const picked_N = picked_BT.view({-1}).to(logit_N.scalar_type());
    at::Tensor const loss = ops::binary_cross_entropy_sum(of_candidates(logit_N), of_candidates(picked_N));
    (router.causal == RouterImpl::Causal::bce ? result.router_loss : result.predictor_loss) = loss;
  }
  if (router.z_loss) result.z_loss = router.z_loss_sum(of_candidates(result.score_N));
  if (router.is_training() && at::GradMode::is_enabled() && candidates > 0)
    router.update_threshold(of_candidates(result.score_N), std::min(B * rows_of_capacity(trained_capacity, T), candidates));
  return result;
}

}  // namespace isobath
