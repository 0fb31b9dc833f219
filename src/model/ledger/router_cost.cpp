#include "model/ledger/router_cost.h"

#include <functional>
#include <numeric>

#include "config/sections/routers.h"

namespace isobath {

namespace {

int64_t elements(RouterParameter const& parameter) {
  return std::accumulate(parameter.shape.begin(), parameter.shape.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

bool has_predictor(DepthConfig const& depth) { return !router_kind(depth.router).random && depth.causal == Causal::predictor; }

void add_router_costs(Ledger& ledger, ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, int64_t routers) {
  ledger.routers = routers;
  for (RouterParameter const& parameter : router_parameters(model, depth, vocab_size))
    if (!parameter.table) ledger.router_row += 2 * elements(parameter);
  if (has_predictor(depth)) {
    int64_t const P = resolved_predictor_width(model, depth);
    ledger.predictor_row = 2 * (model.width * P + P);
  }
}

void add_router_parameters(Parameters& count, ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, int64_t routers) {
  for (RouterParameter const& parameter : router_parameters(model, depth, vocab_size)) count.routers += routers * elements(parameter);
  if (has_predictor(depth)) {
    int64_t const P = resolved_predictor_width(model, depth);
    count.predictors += routers * (model.width * P + P + P + 1);
  }
}

}  // namespace isobath
