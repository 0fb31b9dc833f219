#pragma once
// Statistics over few seeds: spread, paired differences and their confidence intervals. Uses no LibTorch.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
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

// Paired relative difference of two arms, 100 (arm / baseline - 1), averaged over seeds. Both runs of a pair share seed, start and data.
struct PairedDifference {
  double percent = 0;                // negative: the arm's loss is lower
  std::optional<double> half_width;  // half the width of the 95 % confidence interval (Student's t); none with fewer than two seeds
  int64_t n = 0;
  bool significant() const;  // whether the confidence interval excludes zero
};
PairedDifference paired_percent(std::vector<double> const& arm, std::vector<double> const& baseline);

// "better by 1.2 % +- 0.3, 3 seeds" | "worse by ..." | "no significant difference (-0.3 % +- 1.1, 2 seeds)".
std::string verdict(PairedDifference const& difference);

// Pearson's correlation with its 95 % interval (Fisher's z). NaN when all values are alike or there are fewer than four pairs.
struct Correlation {
  double r = 0, low = 0, high = 0;
};
Correlation correlation(std::vector<std::pair<double, double>> const& pairs);

// Wilson's 95 % interval of a share, `hits` of n.
std::pair<double, double> wilson_interval(double hits, double n);
// 95 % interval of a statistic of n items: its quantiles over 1000 resamples of them, drawn with replacement by `seed`. statistic: of the
// items of a resample, by their numbers.
std::pair<double, double> bootstrap_interval(int64_t n, uint64_t seed, std::function<double(std::vector<int64_t> const&)> const& statistic);
// Two-sided exact p of McNemar's test: of items where exactly one of two models is right, `first` and `second` are right so often.
double mcnemar_exact(int64_t first, int64_t second);

// The F1 against top-k that the best fixed threshold reaches on average when scores are independent: top-k takes exactly K of every T
// tokens, a threshold a varying number. A causal decision is measured against this F1.
double threshold_f1_ceiling(int64_t K, int64_t T);

}  // namespace isobath
