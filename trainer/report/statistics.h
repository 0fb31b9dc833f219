#pragma once
// What a few seeds can and cannot show. No LibTorch.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isobath {

struct Spread {
  double mean = 0;
  double std = 0;  // of the sample (n - 1); 0 when n < 2
  int64_t n = 0;
};
Spread spread(std::vector<double> const& values);
double median(std::vector<double> values);  // NaN when empty

double student_t_cdf(double t, double degrees);
double student_t_quantile(double p, double degrees);  // the t below which a share p lies

// Relative differences of runs that share seed, start and data: 100 (arm / baseline - 1), averaged over seeds.
struct PairedDifference {
  double percent = 0;                // negative: the arm's loss is lower
  std::optional<double> half_width;  // of the 95 % t-interval; none with fewer than two seeds
  int64_t n = 0;
  bool shown() const;  // the interval leaves zero out
};
PairedDifference paired_percent(std::vector<double> const& arm, std::vector<double> const& baseline);

// "better by 1.2 % +- 0.3, 3 seeds" | "worse by ..." | "no difference that 2 seeds can show (-0.3 % +- 1.1)".
std::string verdict(PairedDifference const& difference);

// Top-k takes exactly K of every T, a fixed threshold a varying number: the F1 that the best one reaches on average
// when scores are independent. What a causal decision is to be measured against.
double threshold_f1_ceiling(int64_t K, int64_t T);

}  // namespace isobath
