#include "trainer/report/isoflop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "core/random.h"

namespace isobath {
namespace {

constexpr size_t wanted_sizes = 3;
constexpr int64_t resamples = 1000;

using Indices = std::vector<size_t>;

Indices all_of(size_t n) {
  Indices all(n);
  std::iota(all.begin(), all.end(), size_t{0});
  return all;
}

// n of n, drawn with replacement.
Indices draw(size_t n, uint64_t key) {
  Indices drawn(n);
  for (size_t i = 0; i < n; ++i) drawn[i] = static_cast<size_t>(random_uniform(key, i) * static_cast<double>(n));
  return drawn;
}

// The mean loss of every size over some of the seeds.
std::vector<double> mean_losses(IsoflopFit const& fit, Indices const& seeds) {
  std::vector<double> means;
  for (SweepRow const& row : fit.rows) {
    double sum = 0;
    for (size_t const seed : seeds) sum += *row.loss_of(fit.seeds[seed]);
    means.push_back(sum / static_cast<double>(seeds.size()));
  }
  return means;
}

// Residual bootstrap: the fitted losses plus residuals that are drawn with replacement. A fit of three coefficients leaves residuals that
// are smaller than the errors; the factor makes up for that.
std::vector<double> with_other_residuals(std::vector<double> const& sizes, std::vector<double> const& losses, uint64_t key) {
  Parabola const fit = fit_parabola(sizes, losses);
  auto const n = static_cast<double>(sizes.size());
  double const factor = std::sqrt(n / (n - wanted_sizes));
  std::vector<double> redrawn;
  Indices const drawn = draw(sizes.size(), key);
  for (size_t i = 0; i < sizes.size(); ++i) redrawn.push_back(fit.at(sizes[i]) + factor * (losses[drawn[i]] - fit.at(sizes[drawn[i]])));
  return redrawn;
}

// Seeds are drawn alike in all families of a budget, since their runs are paired. A parabola through three sizes has no residuals.
void resample(IsoflopFit& fit, std::vector<double> const& sizes) {
  size_t const seeds = fit.seeds.size();
  if (seeds < 2 && sizes.size() <= wanted_sizes) return;
  uint64_t const family = make_key({hash_text(fit.family), hash_text(fit.budget)});
  for (uint64_t i = 0; i < resamples; ++i) {
    std::vector<double> losses = mean_losses(fit, draw(seeds, make_key({hash_text("seeds"), i})));
    if (sizes.size() > wanted_sizes) losses = with_other_residuals(sizes, losses, make_key({family, i}));
    fit.resamples.push_back(fit_parabola(sizes, losses));
  }
}

// The largest difference of training FLOPs, as a share.
double flops_spread(std::vector<SweepRow> const& rows) {
  auto const [least, most] =
      std::minmax_element(rows.begin(), rows.end(), [](SweepRow const& a, SweepRow const& b) { return a.train_flops < b.train_flops; });
  return static_cast<double>(most->train_flops) / static_cast<double>(least->train_flops) - 1;
}

bool all_finite(std::vector<SweepRow> const& rows, double SweepRow::*value) {
  return std::all_of(rows.begin(), rows.end(), [&](SweepRow const& row) {
    return row.*value > 0 && std::isfinite(row.*value) &&
           std::all_of(row.losses.begin(), row.losses.end(), [](double loss) { return std::isfinite(loss); });
  });
}

std::string why_no_fit(IsoflopFit const& fit) {
  std::set<double> sizes;
  std::set<int64_t> contexts;
  for (SweepRow const& row : fit.rows) {
    sizes.insert(row.*fit.axis->of);
    contexts.insert(row.context);
  }
  if (contexts.size() > 1) return "its sizes differ in model.context";
  if (fit.rows.size() < wanted_sizes) return fmt::format("{} of the {} sizes that a fit needs", fit.rows.size(), wanted_sizes);
  if (!all_finite(fit.rows, fit.axis->of)) return fmt::format("a run has no finite loss, or no {}", fit.axis->label);
  if (sizes.size() < fit.rows.size()) return fmt::format("two of its sizes have as many {}", fit.axis->label);
  if (flops_spread(fit.rows) > same_budget) return "its sizes were not trained with the same FLOPs";
  return fit.seeds.empty() ? "no seed has finished all sizes of all families" : "";
}

std::string why_no_optimum(Parabola const& curve) {
  if (curve.optimum()) return "";
  if (curve.c <= 0) return "the fit does not open upwards";
  return curve.lowest() == curve.low ? "the smallest size is the best: add smaller ones" : "the largest size is the best: add larger ones";
}

void fit_one(IsoflopFit& fit) {
  std::sort(fit.rows.begin(), fit.rows.end(), [&](SweepRow const& a, SweepRow const& b) { return a.*fit.axis->of < b.*fit.axis->of; });
  fit.reason = why_no_fit(fit);
  if (!fit.reason.empty()) return;
  fit.fitted = true;
  std::vector<double> tried;
  for (SweepRow const& row : fit.rows) {
    tried.push_back(row.*fit.axis->of);
    fit.train_flops += static_cast<double>(row.train_flops) / static_cast<double>(fit.rows.size());
  }
  fit.losses = mean_losses(fit, all_of(fit.seeds.size()));
  fit.curve = fit_parabola(tried, fit.losses);
  fit.reason = why_no_optimum(fit.curve);
  resample(fit, tried);
  if (!fit.reason.empty()) return;
  std::vector<double> sizes, losses;
  for (Parabola const& one : fit.resamples) {
    double const lowest = one.lowest();
    sizes.push_back(one.optimum() ? lowest : std::copysign(std::numeric_limits<double>::infinity(), lowest == one.low ? -1 : 1));
    losses.push_back(one.at(lowest));
  }
  fit.size = bounded(*fit.curve.optimum(), sizes);
  fit.loss = bounded(fit.curve.at(*fit.curve.optimum()), losses);
}

// Seeds that every row has.
std::vector<int64_t> common_seeds(std::vector<SweepRow const*> const& rows) {
  std::vector<int64_t> common = rows.front()->seeds;
  for (SweepRow const* row : rows) {
    std::vector<int64_t> both;
    std::set_intersection(common.begin(), common.end(), row->seeds.begin(), row->seeds.end(), std::back_inserter(both));
    common = std::move(both);
  }
  return common;
}

}  // namespace

double Parabola::at(double size) const {
  double const u = std::log(size / centre);
  return a + u * (b + u * c);
}

std::optional<double> Parabola::optimum() const {
  if (c <= 0) return {};
  double const size = centre * std::exp(-b / (2 * c));
  return size > low && size < high ? std::optional(size) : std::nullopt;
}

double Parabola::lowest() const {
  std::optional<double> const inside = optimum();
  return inside ? *inside : at(low) <= at(high) ? low : high;
}

std::optional<double> Parabola::smallest_with(double loss) const {
  if (at(low) <= loss) return low;
  double const best = lowest();
  if (at(best) > loss) return {};
  // It falls from low to its lowest point: c is positive, or it falls all the way.
  double from = low, to = best;
  for (int halving = 0; halving < 60; ++halving) {
    double const middle = std::sqrt(from * to);
    (at(middle) <= loss ? to : from) = middle;
  }
  return to;
}

Parabola fit_parabola(std::vector<double> const& sizes, std::vector<double> const& losses) {
  Parabola fit;
  auto const n = static_cast<double>(sizes.size());
  double mean = 0;
  for (double const size : sizes) mean += std::log(size) / n;
  fit.centre = std::exp(mean);
  fit.low = *std::min_element(sizes.begin(), sizes.end());
  fit.high = *std::max_element(sizes.begin(), sizes.end());
  // Orthogonal polynomials over the sizes: 1, u, u^2 - k u - m, of which each coefficient is a quotient of two sums.
  double uu = 0, uuu = 0;
  for (double const size : sizes) {
    double const u = std::log(size / fit.centre);
    uu += u * u;
    uuu += u * u * u;
  }
  double const k = uuu / uu, m = uu / n;
  double constant = 0, linear = 0, square = 0, squares = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    double const u = std::log(sizes[i] / fit.centre), second = u * u - k * u - m;
    constant += losses[i] / n;
    linear += losses[i] * u / uu;
    square += losses[i] * second;
    squares += second * second;
  }
  fit.c = square / squares;
  fit.b = linear - k * fit.c;
  fit.a = constant - m * fit.c;
  return fit;
}

std::vector<SizeAxis> const& size_axes() {
  static std::vector<SizeAxis> const axes{
      {"params_non_embedding", "parameters without embeddings", &SweepRow::params_non_embedding},
      {"forward_flops_per_token_causal", "forward FLOPs a token", &SweepRow::forward_flops_per_token_causal}};
  return axes;
}

Bounded bounded(double value, std::vector<double> in_resamples) {
  double const none = std::nan("");
  bool const unmeasured = std::any_of(in_resamples.begin(), in_resamples.end(), [](double one) { return std::isnan(one); });
  if (in_resamples.empty() || unmeasured) return {value, none, none};
  std::sort(in_resamples.begin(), in_resamples.end());
  size_t const n = in_resamples.size(), outside = n / 40;  // 2.5 % on either side
  double const low = in_resamples[outside], high = in_resamples[n - 1 - outside];
  return {value, std::isfinite(low) ? low : none, std::isfinite(high) ? high : none, true};
}

std::vector<IsoflopFit> fit_isoflop(std::vector<SweepRow> const& rows) {
  std::vector<std::pair<std::string, std::string>> order;  // budget and family, as they come
  std::map<std::string, std::vector<SweepRow const*>> by_budget;
  for (SweepRow const& row : rows) {
    by_budget[row.budget].push_back(&row);
    std::pair<std::string, std::string> const key{row.budget, row.family};
    if (std::find(order.begin(), order.end(), key) == order.end()) order.push_back(key);
  }
  std::vector<IsoflopFit> fits;
  for (auto const& [budget, family] : order) {
    std::vector<int64_t> const seeds = common_seeds(by_budget[budget]);
    for (SizeAxis const& axis : size_axes()) {
      IsoflopFit fit;
      fit.family = family;
      fit.budget = budget;
      fit.axis = &axis;
      for (SweepRow const* row : by_budget[budget])
        if (row->family == family) fit.rows.push_back(*row);
      fit.seeds = seeds;
      fit_one(fit);
      fits.push_back(std::move(fit));
    }
  }
  return fits;
}

}  // namespace isobath
