#pragma once
// The scores that routers give, one function in one file of src/nn/router/scores/ each; src/config/sections/routers.cpp says what
// parameters they get.

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "nn/rows.h"

namespace isobath {

// What a router may look at, row by row.
struct RouterInput {
  at::Tensor x_ND;      // of the block, or normalised where depth.router_input says so
  at::Tensor tokens_N;  // int64
  Rows const& rows;     // all of the batch
  uint64_t noise_key = 0;
};

// One score a row, in the wide type (ops.h). `weights` in the order of the router's declaration.
using RouterScore = at::Tensor (*)(std::vector<at::Tensor> const& weights, RouterInput const& input);
RouterScore router_score(std::string const& name);

at::Tensor linear_score(std::vector<at::Tensor> const& weights, RouterInput const& input);
at::Tensor mlp_score(std::vector<at::Tensor> const& weights, RouterInput const& input);
at::Tensor cosine_score(std::vector<at::Tensor> const& weights, RouterInput const& input);
at::Tensor random_score(std::vector<at::Tensor> const& weights, RouterInput const& input);
at::Tensor position_score(std::vector<at::Tensor> const& weights, RouterInput const& input);
at::Tensor token_score(std::vector<at::Tensor> const& weights, RouterInput const& input);
at::Tensor norm_score(std::vector<at::Tensor> const& weights, RouterInput const& input);

}  // namespace isobath
