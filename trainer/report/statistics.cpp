#include "trainer/report/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace isobath {
namespace {

// Continued fraction of the incomplete beta function (Lentz), good where x < (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
  constexpr double tiny = 1e-300;
  auto const guarded = [](double v) { return std::abs(v) < tiny ? tiny : v; };
  double c = 1, d = 1 / guarded(1 - (a + b) * x / (a + 1)), fraction = d;
  for (int m = 1; m <= 500; ++m) {
    double const even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / guarded(1 + even * d);
    c = guarded(1 + even / c);
    fraction *= d * c;
    double const odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / guarded(1 + odd * d);
    c = guarded(1 + odd / c);
    fraction *= d * c;
    if (std::abs(d * c - 1) < 1e-15) break;
  }
  return fraction;
}

double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  double const front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

}  // namespace

Spread spread(std::vector<double> const& values) {
  Spread result;
  result.n = static_cast<int64_t>(values.size());
  if (values.empty()) return result;
  for (double value : values) result.mean += value;
  result.mean /= static_cast<double>(result.n);
  if (result.n < 2) return result;
  double squares = 0;
  for (double value : values) squares += (value - result.mean) * (value - result.mean);
  result.std = std::sqrt(squares / static_cast<double>(result.n - 1));
  return result;
}

double median(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  size_t const half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double student_t_cdf(double t, double degrees) {
  double const tail = incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2;
  return t > 0 ? 1 - tail : tail;
}

double student_t_quantile(double p, double degrees) {
  if (p < 0.5) return -student_t_quantile(1 - p, degrees);
  double low = 0, high = 1;
  while (student_t_cdf(high, degrees) < p) high *= 2;
  for (int i = 0; i < 200 && high - low > 1e-13 * high; ++i) {
    double const middle = (low + high) / 2;
    (student_t_cdf(middle, degrees) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

bool PairedDifference::shown() const { return half_width && std::abs(percent) > *half_width; }

double threshold_f1_ceiling(int64_t K, int64_t T) {
  if (K >= T) return 1;
  auto const n = static_cast<double>(T), k = static_cast<double>(K);
  double best = 0;
  // Tokens above a threshold at rate p are binomial, and the picks in common are the smaller of their number and K.
  for (double rate = 0.7; rate <= 1.3; rate += 0.01) {
    double const p = std::min(rate * k / n, 1 - 1e-9);
    double common = 0;
    for (int64_t i = 1; i <= T; ++i) {
      auto const x = static_cast<double>(i);
      double const log_choose = std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1);
      common += std::min(x, k) * std::exp(log_choose + x * std::log(p) + (n - x) * std::log1p(-p));
    }
    best = std::max(best, 2 * common / (n * p + k));
  }
  return best;
}

PairedDifference paired_percent(std::vector<double> const& arm, std::vector<double> const& baseline) {
  if (arm.size() != baseline.size()) throw Error(ExitCode::other, "paired difference of unequal numbers of runs");
  std::vector<double> differences;
  for (size_t i = 0; i < arm.size(); ++i) differences.push_back(100 * (arm[i] / baseline[i] - 1));
  Spread const all = spread(differences);
  PairedDifference result{all.mean, std::nullopt, all.n};
  if (all.n >= 2) {
    auto const n = static_cast<double>(all.n);
    result.half_width = student_t_quantile(0.975, n - 1) * all.std / std::sqrt(n);
  }
  return result;
}

std::string verdict(PairedDifference const& difference) {
  if (difference.n == 0) return "not measured: no seed finished in both arms";
  if (difference.n == 1) return fmt::format("{:+.2f} % in the one seed run; one seed has no interval", difference.percent);
  // Two digits where one would round the interval away.
  int const digits = *difference.half_width < 0.1 || std::abs(difference.percent) < 0.1 ? 2 : 1;
  if (!difference.shown())
    return fmt::format("no difference that {} seeds can show ({:+.{}f} % +- {:.{}f})", difference.n, difference.percent, digits,
                       *difference.half_width, digits);
  return fmt::format("{} by {:.{}f} % +- {:.{}f}, {} seeds", difference.percent < 0 ? "better" : "worse", std::abs(difference.percent),
                     digits, *difference.half_width, digits, difference.n);
}

}  // namespace isobath
