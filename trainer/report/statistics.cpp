#include "trainer/report/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/random.h"

namespace isobath {

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

double student_t_cdf(double t, double degrees) { return boost::math::cdf(boost::math::students_t(degrees), t); }

double student_t_quantile(double p, double degrees) { return boost::math::quantile(boost::math::students_t(degrees), p); }

bool PairedDifference::significant() const { return half_width && std::abs(percent) > *half_width; }

Correlation correlation(std::vector<std::pair<double, double>> const& pairs) {
  auto const n = static_cast<double>(pairs.size());
  double mean_a = 0, mean_b = 0, aa = 0, bb = 0, ab = 0;
  for (auto const& [a, b] : pairs) {
    mean_a += a / n;
    mean_b += b / n;
  }
  for (auto const& [a, b] : pairs) {
    aa += (a - mean_a) * (a - mean_a);
    bb += (b - mean_b) * (b - mean_b);
    ab += (a - mean_a) * (b - mean_b);
  }
  double const spread = std::sqrt(aa * bb), r = n > 3 && spread > 1e-12 ? ab / spread : std::nan("");
  double const z = std::atanh(r), half_width = 1.96 / std::sqrt(n - 3);
  return {r, std::tanh(z - half_width), std::tanh(z + half_width)};
}

std::pair<double, double> wilson_interval(double hits, double n) {
  if (n <= 0) return {std::nan(""), std::nan("")};
  constexpr double z = 1.959963984540054;  // 97.5 % of a normal distribution lie below
  double const p = hits / n, scale = 1 / (1 + z * z / n), center = scale * (p + z * z / (2 * n)),
               half = scale * z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  // Exact where no item or every item hits, which rounding would miss.
  return {hits == 0 ? 0 : std::max(0.0, center - half), hits == n ? 1 : std::min(1.0, center + half)};
}

namespace {

constexpr int64_t resamples = 1000;

// Which of n items each resample draws. A report asks for the same again for every arm and pair of a task, so the last answer is kept.
std::vector<std::vector<int64_t>> const& resampled(int64_t n, uint64_t seed) {
  thread_local std::pair<int64_t, uint64_t> of;
  thread_local std::vector<std::vector<int64_t>> draws;
  if (!draws.empty() && of == std::pair(n, seed)) return draws;
  uint64_t const key = make_key({seed, hash_text("bootstrap")});
  draws.assign(resamples, std::vector<int64_t>(static_cast<size_t>(n)));
  uint64_t counter = 0;
  for (std::vector<int64_t>& drawn : draws)
    for (int64_t& item : drawn) item = static_cast<int64_t>(random_bits(key, counter++) % static_cast<uint64_t>(n));
  of = {n, seed};
  return draws;
}

}  // namespace

std::pair<double, double> bootstrap_interval(int64_t n, uint64_t seed,
                                             std::function<double(std::vector<int64_t> const&)> const& statistic) {
  if (n == 0) return {std::nan(""), std::nan("")};
  std::vector<double> values;
  for (std::vector<int64_t> const& drawn : resampled(n, seed)) values.push_back(statistic(drawn));
  std::sort(values.begin(), values.end());
  return {values[resamples / 40], values[resamples - 1 - resamples / 40]};
}

double mcnemar_exact(int64_t first, int64_t second) {
  int64_t const n = first + second, fewer = std::min(first, second);
  double tail = 0;  // of a binomial distribution with p = 1/2
  for (int64_t k = 0; k <= fewer; ++k)
    tail += std::exp(std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0) - static_cast<double>(n) * std::numbers::ln2);
  return std::min(1.0, 2 * tail);
}

double threshold_f1_ceiling(int64_t K, int64_t T) {
  if (K >= T) return 1;
  auto const n = static_cast<double>(T), k = static_cast<double>(K);
  double best = 0;
  // The number of tokens above a threshold at rate p is binomial; the smaller of that number and K is what both pick.
  for (double rate = 0.7; rate <= 1.3; rate += 0.01) {
    double const p = std::min(rate * k / n, 1 - 1e-9);
    boost::math::binomial const above(n, p), others(n - 1, p);  // E[X; X <= K] = np P(X of n - 1 tokens < K)
    double const common = n * p * boost::math::cdf(others, k - 1) + k * boost::math::cdf(boost::math::complement(above, k));
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
  if (difference.n == 1) return fmt::format("{:+.2f} % (one seed: no confidence interval)", difference.percent);
  // Two digits where one digit would round a small value to 0.
  int const digits = *difference.half_width < 0.1 || std::abs(difference.percent) < 0.1 ? 2 : 1;
  if (!difference.significant())
    return fmt::format("no significant difference ({:+.{}f} % +- {:.{}f}, {} seeds)", difference.percent, digits, *difference.half_width,
                       digits, difference.n);
  return fmt::format("{} by {:.{}f} % +- {:.{}f}, {} seeds", difference.percent < 0 ? "better" : "worse", std::abs(difference.percent),
                     digits, *difference.half_width, digits, difference.n);
}

}  // namespace isobath
