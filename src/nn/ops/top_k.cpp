#include "nn/ops/ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/record_function.h>

#include <limits>

#include "nn/backend/backend.h"

namespace isobath::ops {

using at::Tensor;

Tensor top_k(Tensor const& scores_BT, int64_t K) {
  RECORD_FUNCTION("ops::top_k", c10::ArrayRef<c10::IValue const>());
  Tensor const scores = scores_BT.detach().contiguous();
  return backend_for(scores).top_k(scores, K);
}

Tensor top_k_of_documents(Tensor const& scores_BT, Tensor const& segments_BT, int64_t K) {
  RECORD_FUNCTION("ops::top_k_of_documents", c10::ArrayRef<c10::IValue const>());
  int64_t const T = scores_BT.size(1);
  Tensor const begin_BT = at::searchsorted(segments_BT, segments_BT), end_BT = at::searchsorted(segments_BT, segments_BT, false, true);
  // Number of candidates (scores above -inf) before each place; the last column counts all of them.
  Tensor const before_BX = at::constant_pad_nd(scores_BT.detach().ne(-std::numeric_limits<double>::infinity()).cumsum(1), {1, 0});
  Tensor const all_B1 = before_BX.narrow(1, T, 1).clamp_min(1);
  auto const share_BT = [&](Tensor const& place_BT) { return before_BX.gather(1, place_BT).mul(K).floor_divide(all_B1); };
  Tensor const quota_BT = share_BT(end_BT) - share_BT(begin_BT);
  // Tokens in order of documents, and within a document by falling score: each document takes up the same places as in the sequence.
  Tensor const by_score_BT = std::get<1>(scores_BT.detach().sort(/*stable=*/true, 1, /*descending=*/true));
  Tensor const by_document_BT = std::get<1>(segments_BT.gather(1, by_score_BT).sort(/*stable=*/true, 1, /*descending=*/false));
  Tensor const chosen_BT = (at::arange(T, begin_BT.options()) - begin_BT).lt(quota_BT);
  Tensor const topk_BT =
      at::zeros_like(scores_BT).scatter_(1, by_score_BT.gather(1, by_document_BT), chosen_BT.to(scores_BT.scalar_type()));
  return top_k(topk_BT, K);
}

}  // namespace isobath::ops
