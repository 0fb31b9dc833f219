#pragma once
// Two arms held against each other, seed by seed. Uses no LibTorch.

#include <string>
#include <vector>

#include "trainer/report/comparable.h"
#include "trainer/report/report.h"

namespace isobath {

using Seeds = std::vector<int64_t>;
using Runs = std::vector<RunResult const*>;

Seeds seeds_of(ArmResult const& arm);
Seeds common_seeds(ArmResult const& arm, Seeds const& wanted);  // those of `wanted` that the arm has finished
Runs runs_of(ArmResult const& arm, Seeds const& seeds);
std::vector<double> values_of(Runs const& runs, std::string const& metric);  // empty where no metric is named

// What is compared, and what of it is known beforehand.
struct PairNames {
  std::string arm, baseline, basis;
  Comparable by;
};
// The pair of these values, one of each a seed; where `reason` says why they are not comparable, a pair without a verdict.
Pair make_pair(PairNames const& names, std::string const& reason, std::vector<double> const& ours, std::vector<double> const& theirs);

Pair equal_flops_pair(ArmResult const& arm, ArmResult const& baseline, Seeds const& seeds);
// A reference (match.tokens_of) and the arm whose tokens it has seen: training FLOPs may differ.
Pair equal_tokens_pair(ArmResult const& reference, ArmResult const& arm, Seeds const& seeds);
Pair equal_time_pair(ArmResult const& arm, ArmResult const& baseline, Seeds const& seeds);

// Adds to every pair what two one-sided tests say of its difference (compare.margin), and whether the difference outlasts Holm's correction
// over all arms that are held against the same baseline in the same way.
void decide_pairs(Report& report);

}  // namespace isobath
