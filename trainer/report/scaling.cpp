#include "trainer/report/scaling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace isobath {
namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

IsoflopFit const* find(std::vector<IsoflopFit> const& fits, std::string const& family, std::string const& budget) {
  for (IsoflopFit const& fit : fits)
    if (fit.family == family && fit.budget == budget && fit.axis->of == &SweepRow::forward_flops_per_token_causal) return &fit;
  return nullptr;
}

// What was measured of the rows at this size: between two of them linear in both logarithms. NaN where it was not measured.
double measured_at(IsoflopFit const& fit, double SweepRow::*measured, double size) {
  size_t above = 1;
  while (above + 1 < fit.rows.size() && fit.rows[above].*fit.axis->of < size) ++above;
  SweepRow const &left = fit.rows[above - 1], &right = fit.rows[above];
  double const from = left.*fit.axis->of, to = right.*fit.axis->of, share = std::log(size / from) / std::log(to / from);
  return std::exp((1 - share) * std::log(left.*measured) + share * std::log(right.*measured));
}

// What `share_of` makes of the two fitted curves, with its interval over their resamples, which are paired.
template <class Share>
Bounded over_resamples(IsoflopFit const& family, IsoflopFit const& reference, Share share_of) {
  std::vector<double> in_resamples;
  for (size_t i = 0; i < std::min(family.resamples.size(), reference.resamples.size()); ++i)
    in_resamples.push_back(share_of(family.resamples[i], reference.resamples[i]));
  return bounded(share_of(family.curve, reference.curve), std::move(in_resamples));
}

BestAgainst best_against(IsoflopFit const& family, IsoflopFit const& reference) {
  BestAgainst result;
  result.family = family.family;
  result.budget = family.budget;
  if (!family.reason.empty() || !reference.reason.empty()) {
    IsoflopFit const& lacking = family.reason.empty() ? reference : family;
    result.reason = lacking.family + " has no optimum: " + lacking.reason;
    return result;
  }
  if (std::abs(family.train_flops / reference.train_flops - 1) > same_budget) {
    result.reason = "not trained with the same FLOPs";
    return result;
  }
  result.loss_percent = over_resamples(family, reference, [](Parabola const& ours, Parabola const& theirs) {
    return 100 * (ours.at(ours.lowest()) / theirs.at(theirs.lowest()) - 1);
  });
  std::optional<double> const smallest = family.curve.smallest_with(reference.curve.at(reference.curve.lowest()));
  result.reaches = smallest.has_value();
  if (!smallest) return result;
  result.at_smallest = *smallest == family.curve.low;
  // Share of the reference's cost at equal loss. In a resample plus infinity where no size of the family is as good, minus infinity where
  // the smallest one already is.
  auto const share = [&](auto const& cost_of) {
    return over_resamples(family, reference, [&](Parabola const& ours, Parabola const& theirs) {
      double const best = theirs.lowest();
      std::optional<double> const as_good = ours.smallest_with(theirs.at(best));
      if (!as_good) return infinite;
      bool const is_bound = &ours != &family.curve && *as_good == ours.low;
      return is_bound ? -infinite : cost_of(family, *as_good) / cost_of(reference, best);
    });
  };
  result.forward_flops = share([](IsoflopFit const&, double size) { return size; });
  auto const timed = [&](double SweepRow::*time) {
    return share([time](IsoflopFit const& fit, double size) { return measured_at(fit, time, size); });
  };
  result.step_time = timed(&SweepRow::step_time_s);
  result.decode_time = timed(&SweepRow::decode_time_1);
  return result;
}

// The slope of ln(value) over ln(FLOPs), by least squares.
double exponent(std::vector<double> const& flops, std::vector<double> const& values) {
  auto const n = static_cast<double>(flops.size());
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
  for (size_t i = 0; i < flops.size(); ++i) {
    mean_x += std::log(flops[i]) / n;
    mean_y += std::log(values[i]) / n;
  }
  for (size_t i = 0; i < flops.size(); ++i) {
    xx += (std::log(flops[i]) - mean_x) * (std::log(flops[i]) - mean_x);
    xy += (std::log(flops[i]) - mean_x) * (std::log(values[i]) - mean_y);
  }
  return xy / xx;
}

std::optional<ComputeFit> by_compute(std::string const& family, std::vector<IsoflopFit const*> const& fits) {
  if (fits.size() < 2) return {};
  ComputeFit result;
  result.family = family;
  std::vector<double> flops;
  size_t draws = fits.front()->resamples.size();
  for (IsoflopFit const* fit : fits) {
    result.budgets.push_back(fit->budget);
    flops.push_back(fit->train_flops);
    draws = std::min(draws, fit->resamples.size());
  }
  auto const of = [&](auto const& value_of) {
    auto const slope = [&](auto const& curve_of) {
      std::vector<double> values;
      for (IsoflopFit const* fit : fits) values.push_back(value_of(curve_of(*fit)));
      return exponent(flops, values);
    };
    std::vector<double> in_resamples;
    for (size_t i = 0; i < draws; ++i) {
      bool const all =
          std::all_of(fits.begin(), fits.end(), [i](IsoflopFit const* fit) { return fit->resamples[i].optimum().has_value(); });
      in_resamples.push_back(all ? slope([i](IsoflopFit const& fit) -> Parabola const& { return fit.resamples[i]; }) : std::nan(""));
    }
    return bounded(slope([](IsoflopFit const& fit) -> Parabola const& { return fit.curve; }), std::move(in_resamples));
  };
  result.loss_exponent = of([](Parabola const& curve) { return curve.at(curve.lowest()); });
  result.size_exponent = of([](Parabola const& curve) { return curve.lowest(); });
  return result;
}

LengthRow length_row(SweepRow const& ours, SweepRow const& theirs) {
  LengthRow row{ours.family, ours.budget, ours.size, ours.context, ours.forward_flops_per_token_causal, 0, 0, 0, 0, 0, {}};
  auto const share = [&](double SweepRow::*of) { return ours.*of / theirs.*of; };
  row.forward_share = share(&SweepRow::forward_flops_per_token_causal);
  row.step_share = share(&SweepRow::step_time_s);
  row.decode_share = share(&SweepRow::decode_time_1);
  row.prefill_share = share(&SweepRow::prefill_time);
  row.kv_share = share(&SweepRow::kv_bytes);
  std::vector<double> our_losses, their_losses;
  for (size_t i = 0; i < ours.seeds.size(); ++i) {
    std::optional<double> const other = theirs.loss_of(ours.seeds[i]);
    if (!other) continue;
    our_losses.push_back(ours.losses[i]);
    their_losses.push_back(*other);
  }
  row.loss = paired_percent(our_losses, their_losses);
  return row;
}

// Where sizes of a family are lengths of the input: each against the reference in the same size.
std::vector<LengthRow> by_length(std::vector<SweepRow> const& rows, std::string const& reference) {
  std::vector<LengthRow> lengths;
  auto const several = [&](SweepRow const& row) {
    return std::any_of(rows.begin(), rows.end(),
                       [&](SweepRow const& other) { return other.family == row.family && other.context != row.context; });
  };
  for (SweepRow const& row : rows) {
    if (row.family == reference || !several(row)) continue;
    for (SweepRow const& other : rows)
      if (other.family == reference && other.budget == row.budget && other.size == row.size && other.context == row.context)
        lengths.push_back(length_row(row, other));
  }
  return lengths;
}

}  // namespace

Scaling fit_scaling(std::vector<SweepRow> const& rows, std::string const& reference) {
  Scaling scaling;
  scaling.reference = reference;
  scaling.lengths = by_length(rows, reference);
  scaling.fits = fit_isoflop(rows);
  std::vector<std::string> families;
  std::map<std::string, std::vector<IsoflopFit const*>> optima;
  for (IsoflopFit const& fit : scaling.fits) {
    if (fit.axis->of != &SweepRow::forward_flops_per_token_causal) continue;
    if (std::find(families.begin(), families.end(), fit.family) == families.end()) families.push_back(fit.family);
    if (fit.reason.empty()) optima[fit.family].push_back(&fit);
    IsoflopFit const* const other = find(scaling.fits, reference, fit.budget);
    if (other && fit.family != reference && (fit.fitted || other->fitted)) scaling.best.push_back(best_against(fit, *other));
  }
  for (std::string const& family : families)
    if (std::optional<ComputeFit> fit = by_compute(family, optima[family])) scaling.by_compute.push_back(std::move(*fit));
  return scaling;
}

}  // namespace isobath
