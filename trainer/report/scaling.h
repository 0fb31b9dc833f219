#pragma once
// What a sweep over sizes and budgets says of its families: the loss of each at its own best size, what equal loss costs, how both go with
// compute, and how cost goes with the length of the input. Uses no LibTorch.

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "trainer/report/isoflop.h"
#include "trainer/report/sweep.h"

namespace isobath {

// Comparison of a family with the reference family at one budget, by their fits over forward FLOPs a token.
struct BestAgainst {
  std::string family, budget;
  std::string reason;    // why there is no comparison; empty: there is one
  Bounded loss_percent;  // the family's lowest loss against the reference's; negative: lower
  // The smallest model of the family that is as good as the reference's best one, as a share of that one's cost.
  bool reaches = false;                           // there is one
  bool at_smallest = false;                       // the smallest size that was tried is: smaller ones may be, too
  Bounded forward_flops, step_time, decode_time;  // NaN: not measured
};

// How a family's optimum goes with training compute: power laws through its optima.
struct ComputeFit {
  std::string family;
  std::vector<std::string> budgets;  // with an optimum. The exponents have no interval where a resample has none
  Bounded loss_exponent;             // loss ~ FLOPs^exponent
  Bounded size_exponent;             // forward FLOPs a token ~ FLOPs^exponent
};

// A family against the reference family at one length of the input, in the same size, where sizes differ in model.context.
struct LengthRow {
  std::string family, budget, size;
  int64_t context = 0;
  double forward_flops = 0;                                  // of the family, a token
  double forward_share = 0, step_share = 0;                  // of the reference's, per token
  double decode_share = 0, prefill_share = 0, kv_share = 0;  // NaN: not measured
  PairedDifference loss;
};

struct Scaling {
  std::string reference;
  std::vector<IsoflopFit> fits;
  std::vector<BestAgainst> best;
  std::vector<ComputeFit> by_compute;
  std::vector<LengthRow> lengths;
};

// reference: the family that the others are held against.
Scaling fit_scaling(std::vector<SweepRow> const& rows, std::string const& reference);

nlohmann::ordered_json scaling_json(Scaling const& scaling);
std::string scaling_table(Scaling const& scaling);  // for a terminal; empty where there is nothing to say

}  // namespace isobath
