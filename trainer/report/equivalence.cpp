#include "trainer/report/equivalence.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/non_central_t.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/quadrature/gauss_kronrod.hpp>
#include <cmath>
#include <numeric>

namespace isobath {
namespace {

constexpr double level = 0.05, wanted_power = 0.8;

// The standard error of the mean difference, from the half width of its interval.
double standard_error(PairedDifference const& difference) {
  return *difference.half_width / student_t_quantile(1 - level / 2, static_cast<double>(difference.n - 1));
}

bool has_scatter(PairedDifference const& difference) { return difference.n >= 2 && difference.half_width.has_value(); }

// The smallest n from `from` on at which `power` reaches what is wanted. Power grows with n.
template <typename Power>
std::optional<int64_t> seeds_for(int64_t from, Power power) {
  int64_t low = from, high = Equivalence::most_seeds;
  if (power(high) < wanted_power) return std::nullopt;
  while (low < high) {
    int64_t const middle = std::midpoint(low, high);
    if (power(middle) >= wanted_power)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

}  // namespace

double scatter_of(PairedDifference const& difference) { return standard_error(difference) * std::sqrt(static_cast<double>(difference.n)); }

double paired_p(PairedDifference const& difference) {
  if (!has_scatter(difference)) return std::nan("");
  double const error = standard_error(difference);
  if (error == 0) return difference.percent == 0 ? 1 : 0;
  return 2 * student_t_cdf(-std::abs(difference.percent) / error, static_cast<double>(difference.n - 1));
}

double equivalence_p(PairedDifference const& difference, double margin) {
  if (!has_scatter(difference)) return std::nan("");
  double const error = standard_error(difference), room = margin - std::abs(difference.percent);
  if (error == 0) return room > 0 ? 0 : 1;
  return student_t_cdf(-room / error, static_cast<double>(difference.n - 1));  // the larger p of the two tests
}

std::vector<double> holm(std::vector<double> const& p) {
  std::vector<size_t> order;
  for (size_t i = 0; i < p.size(); ++i)
    if (!std::isnan(p[i])) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size(), std::nan(""));
  double most = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    most = std::max(most, std::min(1.0, static_cast<double>(order.size() - rank) * p[order[rank]]));
    adjusted[order[rank]] = most;
  }
  return adjusted;
}

double difference_power(double truth, double scatter, int64_t n) {
  if (n < 2) return 0;
  if (scatter <= 0) return truth != 0;
  auto const degrees = static_cast<double>(n - 1);
  double const shift = std::abs(truth) / scatter * std::sqrt(static_cast<double>(n)), t = student_t_quantile(1 - level / 2, degrees);
  if (shift == 0) return level;
  if (shift > 37) return 1;  // beyond what the series of the distribution can add up; the chance is 1 to all digits from 2 seeds on
  boost::math::non_central_t const distribution(degrees, shift);
  return boost::math::cdf(boost::math::complement(distribution, t)) + boost::math::cdf(distribution, -t);
}

// Integrated over the scatter that is estimated: with u = estimate / truth, degrees * u^2 is chi-squared, and the mean lies between the
// bounds that the tests leave it with a normal probability (Phillips 1990).
double equivalence_power(double truth, double scatter, double margin, int64_t n) {
  if (n < 2 || margin <= 0) return 0;
  if (scatter <= 0) return std::abs(truth) < margin;
  auto const degrees = static_cast<double>(n - 1);
  double const error = scatter / std::sqrt(static_cast<double>(n)), t = student_t_quantile(1 - level, degrees);
  boost::math::normal const normal;
  boost::math::chi_squared const squares(degrees);
  auto const density = [&](double u) {
    double const room = margin / error - t * u;
    if (room <= 0 || u <= 0) return 0.0;
    double const inside = boost::math::cdf(normal, room - truth / error) - boost::math::cdf(normal, -room - truth / error);
    return inside * 2 * degrees * u * boost::math::pdf(squares, degrees * u * u);
  };
  double const most = std::min(margin / (error * t), std::sqrt(boost::math::quantile(squares, 1 - 1e-14) / degrees));
  return std::clamp(boost::math::quadrature::gauss_kronrod<double, 61>::integrate(density, 0.0, most, 12, 1e-10), 0.0, 1.0);
}

double detectable_difference(double scatter, int64_t n) {
  if (n < 2) return std::numeric_limits<double>::infinity();
  if (scatter <= 0) return 0;
  double low = 0, high = scatter;
  while (difference_power(high, scatter, n) < wanted_power) high *= 2;
  for (int step = 0; step < 60; ++step) {
    double const middle = (low + high) / 2;
    (difference_power(middle, scatter, n) < wanted_power ? low : high) = middle;
  }
  return high;
}

char const* name_of(Decision decision) {
  static constexpr char const* names[]{"better", "worse", "equal", "undecided"};
  return names[static_cast<size_t>(decision)];
}

std::optional<Equivalence> equivalence(PairedDifference const& difference, double margin) {
  if (!has_scatter(difference)) return std::nullopt;
  Equivalence result{margin, Decision::undecided, equivalence_p(difference, margin), std::nullopt};
  if (difference.significant())
    result.decision = difference.percent < 0 ? Decision::better : Decision::worse;
  else if (result.p < level)
    result.decision = Decision::equal;
  if (result.decision != Decision::undecided) return result;
  double const scatter = scatter_of(difference);
  result.seeds_needed = seeds_for(difference.n + 1, [&](int64_t n) {
    return std::max(difference_power(difference.percent, scatter, n), equivalence_power(difference.percent, scatter, margin, n));
  });
  return result;
}

std::string describe(Equivalence const& result, int64_t n) {
  if (result.decision == Decision::equal) return fmt::format("equal within {:g} % ({} seeds)", result.margin_percent, n);
  if (result.decision != Decision::undecided) return name_of(result.decision);
  if (!result.seeds_needed) return fmt::format("undecided: more than {} seeds would be needed", Equivalence::most_seeds);
  int64_t const more = *result.seeds_needed - n;
  return fmt::format("undecided: {} more seed{} would probably decide", more, more == 1 ? "" : "s");
}

}  // namespace isobath
