// A Scaling as JSON and as text.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/columns.h"
#include "core/units.h"
#include "trainer/metrics/metric.h"
#include "trainer/report/scaling.h"

namespace isobath {
namespace {

using nlohmann::ordered_json;
using Row = std::vector<std::string>;

constexpr int points_of_curve = 33;

ordered_json interval_json(Bounded const& of) {
  return {{"value", finite_or_null(of.value)},
          {"low", finite_or_null(of.low)},
          {"high", finite_or_null(of.high)},
          {"has_interval", of.has_interval}};
}

// The fitted parabola as points of a line, evenly spaced in the logarithm of the size.
ordered_json curve_json(Parabola const& curve) {
  ordered_json points = ordered_json::array();
  for (int i = 0; i < points_of_curve; ++i) {
    double const size = curve.low * std::pow(curve.high / curve.low, static_cast<double>(i) / (points_of_curve - 1));
    points.push_back({size, curve.at(size)});
  }
  return points;
}

ordered_json fit_json(IsoflopFit const& fit) {
  ordered_json json = {{"family", fit.family},
                       {"budget", fit.budget},
                       {"axis", fit.axis->name},
                       {"label", fit.axis->label},
                       {"sizes", fit.rows.size()},
                       {"seeds", fit.seeds},
                       {"reason", fit.reason},
                       {"optimum", nullptr},
                       {"loss", nullptr},
                       {"curve", fit.fitted ? curve_json(fit.curve) : ordered_json::array()},
                       {"points", ordered_json::array()}};
  for (size_t i = 0; i < fit.losses.size(); ++i) json["points"].push_back({fit.rows[i].*fit.axis->of, fit.losses[i]});
  if (!fit.reason.empty()) return json;
  json["optimum"] = interval_json(fit.size);
  json["loss"] = interval_json(fit.loss);
  return json;
}

ordered_json best_json(BestAgainst const& best) {
  ordered_json json = {
      {"family", best.family}, {"budget", best.budget}, {"reason", best.reason}, {"loss_percent", nullptr}, {"equal_loss", nullptr}};
  if (!best.reason.empty()) return json;
  json["loss_percent"] = interval_json(best.loss_percent);
  if (best.reaches)
    json["equal_loss"] = {{"at_smallest_size", best.at_smallest},
                          {"forward_flops", interval_json(best.forward_flops)},
                          {"step_time", interval_json(best.step_time)},
                          {"decode_time_1", interval_json(best.decode_time)}};
  return json;
}

ordered_json length_json(LengthRow const& row) {
  return {{"family", row.family},
          {"budget", row.budget},
          {"size", row.size},
          {"context", row.context},
          {"forward_flops_per_token_causal", finite_or_null(row.forward_flops)},
          {"share_of_reference",
           {{"forward_flops", finite_or_null(row.forward_share)},
            {"step_time", finite_or_null(row.step_share)},
            {"decode_time_1", finite_or_null(row.decode_share)},
            {"prefill_time", finite_or_null(row.prefill_share)},
            {"kv_bytes", finite_or_null(row.kv_share)}}},
          {"loss_percent", finite_or_null(row.loss.n > 0 ? row.loss.percent : NAN)},
          {"half_width", row.loss.half_width ? finite_or_null(*row.loss.half_width) : ordered_json(nullptr)},
          {"n_seeds", row.loss.n}};
}

// "3.1M [2.8M, 4M]", or "3.1M" without an interval. "?" stands for an end beyond the sizes that were tried.
template <class Show>
std::string with_interval(Bounded const& of, Show const& show) {
  if (!std::isfinite(of.value)) return "-";
  if (!of.has_interval) return show(of.value);
  auto const end = [&](double at) { return std::isfinite(at) ? show(at) : std::string("?"); };
  return fmt::format("{} [{}, {}]", show(of.value), end(of.low), end(of.high));
}

std::string times(double value) { return fmt::format("{:.3f}", value); }

std::string optima_table(Scaling const& scaling) {
  std::vector<Row> lines{{"best size", "budget", "sizes", "seeds", "counted in", "at", "loss there"}};
  for (IsoflopFit const& fit : scaling.fits) {
    bool const has_sizes = fit.rows.size() > 1 && scaling.lengths.empty();
    if (!fit.fitted && !has_sizes) continue;
    lines.push_back({fit.family, fit.budget.empty() ? "-" : fit.budget, std::to_string(fit.rows.size()), std::to_string(fit.seeds.size()),
                     fit.axis->label, fit.reason.empty() ? with_interval(fit.size, [](double x) { return format_si(x); }) : fit.reason,
                     fit.reason.empty() ? with_interval(fit.loss, [](double x) { return fmt::format("{:.4f}", x); }) : "-"});
  }
  return lines.size() > 1 ? aligned_columns(lines) : "";
}

std::string best_table(Scaling const& scaling) {
  std::vector<Row> lines{
      {"at its best, against " + scaling.reference, "budget", "loss, %", "at equal loss: forward FLOPs", "step time", "decode time"}};
  for (BestAgainst const& best : scaling.best) {
    Row& line = lines.emplace_back(Row{best.family, best.budget.empty() ? "-" : best.budget});
    if (!best.reason.empty()) {
      line.insert(line.end(), {best.reason, "-", "-", "-"});
      continue;
    }
    line.push_back(with_interval(best.loss_percent, [](double x) { return fmt::format("{:+.2f}", x); }));
    if (!best.reaches) {
      line.insert(line.end(), {"no size is as good", "-", "-"});
      continue;
    }
    line.push_back((best.at_smallest ? "at most " : "") + with_interval(best.forward_flops, times));
    for (Bounded const& time : {best.step_time, best.decode_time}) line.push_back(with_interval(time, times));
  }
  return lines.size() > 1 ? aligned_columns(lines) : "";
}

std::string compute_table(Scaling const& scaling) {
  std::vector<Row> lines{{"with compute C", "budgets", "best loss ~ C^", "best forward FLOPs ~ C^"}};
  for (ComputeFit const& fit : scaling.by_compute)
    lines.push_back(
        {fit.family, std::to_string(fit.budgets.size()), with_interval(fit.loss_exponent, times), with_interval(fit.size_exponent, times)});
  return lines.size() > 1 ? aligned_columns(lines) : "";
}

std::string length_table(Scaling const& scaling) {
  std::vector<Row> lines{{"by length, as a share of " + scaling.reference, "budget", "size", "context", "forward FLOPs", "step time",
                          "decode time", "prompt time", "KV bytes", "loss, %"}};
  auto const share = [](double value) { return std::isfinite(value) ? times(value) : std::string("-"); };
  for (LengthRow const& row : scaling.lengths)
    lines.push_back({row.family, row.budget.empty() ? "-" : row.budget, row.size, std::to_string(row.context), share(row.forward_share),
                     share(row.step_share), share(row.decode_share), share(row.prefill_share), share(row.kv_share),
                     row.loss.n == 0 ? "-"
                                     : fmt::format("{:+.2f}", row.loss.percent) +
                                           (row.loss.half_width ? fmt::format(" +- {:.2f}", *row.loss.half_width) : "")});
  return lines.size() > 1 ? aligned_columns(lines) : "";
}

}  // namespace

ordered_json scaling_json(Scaling const& scaling) {
  ordered_json isoflop = ordered_json::array(), best = ordered_json::array(), by_compute = ordered_json::array(),
               lengths = ordered_json::array();
  for (IsoflopFit const& fit : scaling.fits) isoflop.push_back(fit_json(fit));
  for (BestAgainst const& one : scaling.best) best.push_back(best_json(one));
  for (ComputeFit const& fit : scaling.by_compute)
    by_compute.push_back({{"family", fit.family},
                          {"budgets", fit.budgets},
                          {"loss_exponent", interval_json(fit.loss_exponent)},
                          {"size_exponent", interval_json(fit.size_exponent)}});
  for (LengthRow const& row : scaling.lengths) lengths.push_back(length_json(row));
  return {{"reference", scaling.reference},
          {"isoflop", std::move(isoflop)},
          {"best", std::move(best)},
          {"by_compute", std::move(by_compute)},
          {"lengths", std::move(lengths)}};
}

std::string scaling_table(Scaling const& scaling) {
  std::string text;
  for (std::string const& table : {optima_table(scaling), best_table(scaling), compute_table(scaling), length_table(scaling)})
    if (!table.empty()) text += (text.empty() ? "" : "\n") + table;
  return text;
}

}  // namespace isobath
