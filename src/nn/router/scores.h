#pragma once
// The score functions of the routers, one file each in src/nn/router/scores/; src/config/sections/routers.cpp lists their parameters.

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "nn/rows.h"

namespace isobath {

// What a router may compute scores from, row by row.
struct RouterInput {
  at::Tensor x_ND;      // input of the block, normalised where depth.router_input says so
  at::Tensor tokens_N;  // int64
  Rows const& rows;     // all tokens of the batch
  uint64_t noise_key = 0;
};

// One score per row, in the wide type (ops.h). `weights`: in the order of the router's declaration.
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
