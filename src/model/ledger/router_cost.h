#pragma once
// What routers and their predictors cost and hold, for the kinds of depth that have them. No LibTorch.

#include "model/ledger/ledger.h"

namespace isobath {

bool has_predictor(DepthConfig const&);  // `causal: predictor` and a router that is not random

void add_router_costs(Ledger& ledger, ModelConfig const&, DepthConfig const&, int64_t vocab_size, int64_t routers);
void add_router_parameters(Parameters& count, ModelConfig const&, DepthConfig const&, int64_t vocab_size, int64_t routers);

}  // namespace isobath
