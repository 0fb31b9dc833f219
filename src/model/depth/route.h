#pragma once
// Which tokens a router selects for a routed layer, or to go on past an exit: score -> select -> decide -> losses.

#include <torch/nn/module.h>

#include "model/depth/kind.h"
#include "nn/router/router.h"

namespace isobath {

struct Route {
  RoutedLayer layer;   // which tokens are selected, and why
  at::Tensor score_N;  // with its gradient
  at::Tensor index_R;  // selected tokens, ascending; `selected` is made of them
  Rows selected;
  // Sums over tokens; undefined when off.
  at::Tensor router_loss, predictor_loss, z_loss;
};

// Selects the router's `capacity` of all tokens, or of those selected `before`: others are never picked, never decided yes and count in no
// loss. replay_BT: what is selected whatever is decided; or undefined.
Route route(RouterImpl& router, RouterInput const& input, ForwardContext const& context, Route const* before, double capacity,
            at::Tensor const& replay_BT);

// Calibrates one router on several batches at once: sets its offset so that its capacity of their tokens (of those selected before) passes.
class RouterCalibration {
 public:
  void add(RouterImpl const& router, RouterInput const& input, Route const* before, double capacity);
  void finish(RouterImpl& router) const;

 private:
  std::vector<at::Tensor> logits_N_;
  int64_t rows_ = 0;
};

// Stores what update_threshold needs of one router's training pass: the scores of its candidates, and how many `capacity` selects.
// Nothing for a router without a running threshold.
void add_threshold_statistics(RouterImpl const& router, Route const& route, Route const* before, double capacity, Rows const& rows,
                              ModelOutput& output);
// Moves the router's running threshold; takes from `statistics`, at `next`, what add_threshold_statistics put there.
void update_threshold(RouterImpl& router, std::vector<at::Tensor> const& statistics, size_t& next, at::Tensor const& updated);

// Sums over the routers of a pass, then means over tokens and routers.
struct RouterLosses {
  void add(Route const& route);
  void report(ModelOutput& output, int64_t tokens, size_t routers) const;

 private:
  at::Tensor router_, predictor_, z_;
};

}  // namespace isobath
