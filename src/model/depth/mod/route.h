#pragma once
// Which tokens a router sends on, into a routed block or past an exit: score -> select -> decide -> losses.

#include <torch/nn/module.h>

#include "model/language_model.h"
#include "nn/router/router.h"

namespace isobath {

struct Route {
  RoutedLayer layer;   // who goes on, and why
  at::Tensor score_N;  // with its gradient
  at::Tensor index_R;  // tokens that go on, ascending; `selected` is made of them
  Rows selected;
  // Sums over tokens; undefined when off.
  at::Tensor router_loss, predictor_loss, z_loss;
};

// What a router's `capacity` lets through of all tokens, or of those that went on `before`: stopped tokens are never picked, never decided
// yes and count in no loss. trained_capacity: what the running threshold stands for. replay_BT: who goes on whatever is decided; or
// undefined.
Route route(RouterImpl& router, RouterInput const& input, Rows const& rows, Route const* before, double capacity, double trained_capacity,
            Routing routing, at::Tensor const& replay_BT);

}  // namespace isobath
