#pragma once
// Difference and sameness of two arms: two one-sided tests, power, and Holm's correction for several arms. Uses no LibTorch.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/report/statistics.h"

namespace isobath {

// Standard deviation of the paired differences between seeds, per cent. There must be two pairs or more.
double scatter_of(PairedDifference const& difference);
// Two-sided p-value of a paired t-test of no difference. NaN with fewer than two pairs.
double paired_p(PairedDifference const& difference);
// p of two one-sided t-tests (Schuirmann 1987): below 0.05 the difference lies within +- margin, both in per cent. NaN with fewer than two.
double equivalence_p(PairedDifference const& difference, double margin);
// Adjusted so that of all true null hypotheses none is rejected at 5 % with a probability of 95 % (Holm 1979). NaN stays NaN.
std::vector<double> holm(std::vector<double> const& p);

// What n pairs would show if their differences scattered with the standard deviation `scatter` around the true difference; all in per cent.
// Chance that a t-test at 5 % finds the true difference.
double difference_power(double truth, double scatter, int64_t n);
// Chance that two one-sided tests at 5 % find the arms equal within the margin.
double equivalence_power(double truth, double scatter, double margin, int64_t n);
// The smallest true difference that is found with a chance of 80 %.
double detectable_difference(double scatter, int64_t n);

enum class Decision { better, worse, equal, undecided };
char const* name_of(Decision decision);

struct Equivalence {
  double margin_percent = 0;
  Decision decision = Decision::undecided;
  double p = 0;  // of the two one-sided tests
  // Seeds of which a decision, either way, has a chance of 80 % if the truth and the scatter are what was measured; none where it is
  // decided, or where more than most_seeds would be needed.
  std::optional<int64_t> seeds_needed;
  static constexpr int64_t most_seeds = 1000;
};
// A difference whose 95 % interval excludes zero is better or worse, however small; else equal where the two one-sided tests say so.
// nullopt with fewer than two pairs.
std::optional<Equivalence> equivalence(PairedDifference const& difference, double margin);
// "better" | "worse" | "equal within 0.5 % (3 seeds)" | "undecided: 9 more seeds would decide"
std::string describe(Equivalence const& result, int64_t n);

}  // namespace isobath
