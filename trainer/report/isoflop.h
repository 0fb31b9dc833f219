#pragma once
// The best size of a family of models at one training budget: a parabola of the loss over the logarithm of the size (Hoffmann et al.
// 2022, "Training Compute-Optimal Large Language Models", approach 2). Uses no LibTorch.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/report/sweep.h"

namespace isobath {

// loss = a + b u + c u^2 with u = ln(size / centre), for sizes between low and high.
struct Parabola {
  double centre = 1, low = 1, high = 1, a = 0, b = 0, c = 0;
  double at(double size) const;
  // Where it is lowest, strictly between low and high: an optimum at an edge is none.
  std::optional<double> optimum() const;
  // Where it is lowest, low and high included.
  double lowest() const;
  // The smallest size that reaches this loss; nullopt where none does.
  std::optional<double> smallest_with(double loss) const;
};

// Least-squares fit. Needs at least three sizes, all different.
Parabola fit_parabola(std::vector<double> const& sizes, std::vector<double> const& losses);

// What sizes are counted in.
struct SizeAxis {
  char const *name, *label;
  double SweepRow::*of;
};
// params_non_embedding, forward_flops_per_token_causal
std::vector<SizeAxis> const& size_axes();

// A value and its 95 % bootstrap interval. low or high is NaN where the interval has no end within the sizes that were tried.
struct Bounded {
  double value = 0, low = 0, high = 0;
  bool has_interval = false;  // false: nothing to resample (one seed, three sizes), or not measured
};

// One family at one budget.
struct IsoflopFit {
  std::string family, budget;
  SizeAxis const* axis = nullptr;
  std::vector<SweepRow> rows;  // by ascending size
  std::vector<int64_t> seeds;  // that every row of the budget has
  double train_flops = 0;      // of a run, mean over the rows
  std::string reason;          // why there is no optimum; empty: there is one
  bool fitted = false;
  // Where it is fitted: the loss of each row, mean over the seeds; the fit; and its bootstrap refits. Each of these draws seeds (the same
  // draw for all families of the budget) and, with four sizes or more, residuals.
  std::vector<double> losses;
  Parabola curve;
  std::vector<Parabola> resamples;
  Bounded size, loss;  // at the optimum
};

// What training FLOPs may differ by and still be the same budget, as a share.
inline constexpr double same_budget = 0.01;

// One fit for every family, budget and axis, in the order of the rows.
std::vector<IsoflopFit> fit_isoflop(std::vector<SweepRow> const& rows);

// The 95 % percentile interval of an estimate. in_resamples: what it is in each bootstrap resample; plus or minus infinity where it lies
// beyond the sizes that were tried, NaN where it was not measured.
Bounded bounded(double value, std::vector<double> in_resamples);

}  // namespace isobath
