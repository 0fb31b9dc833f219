#pragma once
// Which tokens a router selects for a routed layer, or to go on past an exit: score -> select -> decide -> losses.

#include <torch/nn/module.h>

#include "model/depth/kind.h"
#include "nn/router/router.h"

namespace isobath {

struct Route {
  RoutedLayer layer;   // selected tokens, causal and top-k selection, scores
  at::Tensor score_N;  // with its gradient
  at::Tensor index_R;  // flat indices of the selected tokens, ascending; `selected` describes these rows
  Rows selected;
  // Sums over tokens; undefined when off.
  at::Tensor router_loss, predictor_loss, z_loss;
};

// Selects tokens under the context's routing: top-k selects the share `capacity` of each sequence, causal routing what the causal decision
// selects. With `before`, only the tokens that it selected are candidates; other tokens are never selected and count in no loss. replay_BT,
// if defined, replaces the causal decision.
Route route(RouterImpl& router, RouterInput const& input, ForwardContext const& context, Route const* before, double capacity,
            at::Tensor const& replay_BT);

// Calibrates one router on several batches at once: sets its offset so that the causal decision selects the share `capacity` of their
// tokens, out of the candidates (`before`, or all).
class RouterCalibration {
 public:
  void add(RouterImpl const& router, RouterInput const& input, Route const* before, double capacity);
  void finish(RouterImpl& router, AcrossRanks const& ranks) const;

 private:
  std::vector<at::Tensor> logits_N_;
  int64_t rows_ = 0;
};

// Appends to output.statistics what update_threshold needs from one router's training pass: the scores of its candidates, and how many
// tokens `capacity` selects. Appends nothing for a router without a running threshold.
void add_threshold_statistics(RouterImpl const& router, Route const& route, Route const* before, double capacity, Rows const& rows,
                              ModelOutput& output);
// Updates the router's running threshold from the entries of `statistics` that add_threshold_statistics appended, and advances `next` past
// them.
void update_threshold(RouterImpl& router, std::vector<at::Tensor> const& statistics, size_t& next, at::Tensor const& updated);

// Adds up the losses of all routers of a pass and reports their means over tokens and routers.
struct RouterLosses {
  void add(Route const& route);
  void report(ModelOutput& output, int64_t tokens, size_t routers) const;

 private:
  at::Tensor router_, predictor_, z_;
};

}  // namespace isobath
