#include "trainer/metrics/metric.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "core/units.h"
#include "format/total.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

constexpr double not_measured = std::numeric_limits<double>::quiet_NaN();

std::vector<Metric>& table() {
  static std::vector<Metric> rows = [] {
    std::vector<Metric> all;
    for (std::vector<Metric> const& part :
         {run_metrics(), train_metrics(), validation_metrics(), end_metrics(), decoding_metrics(), task_metrics(), derived_metrics()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return rows;
}

Metric const* find_in_reports(std::string_view report_key) {
  for (Metric const& metric : table())
    if (metric.in_reports() && metric.report_key == report_key) return &metric;
  return nullptr;
}

// What was not measured is null, because JSON has no NaN. Totals of FLOPs beyond 2^53 are digits as text.
double read_value(nlohmann::json const& json) {
  if (json.is_number()) return json.get<double>();
  auto const total = json.is_string() ? read_total(json) : std::nullopt;
  return total ? static_cast<double>(*total) : not_measured;
}

MetricValues read_values(nlohmann::json const& json) {
  MetricValues values;
  auto const take = [&](nlohmann::json const& value) { values.push_back(read_value(value)); };
  if (json.is_array())
    std::for_each(json.begin(), json.end(), take);
  else
    take(json);
  return values;
}

}  // namespace

Metric Metric::whole() && {
  integer = true;
  return std::move(*this);
}

Metric Metric::per(Each value) && {
  each = value;
  return std::move(*this);
}

Metric Metric::over(OverSeeds value) && {
  over_seeds = value;
  return std::move(*this);
}

Metric Metric::reported_as(std::string value) && {
  report_key = std::move(value);
  return std::move(*this);
}

Metric Metric::shown(Group in, std::string on_page, std::string in_terminal, Format as, int with_digits) && {
  group = in;
  label = std::move(on_page);
  heading = std::move(in_terminal);
  format = as;
  digits = with_digits;
  return std::move(*this);
}

double MetricMap::operator[](std::string_view report_key) const {
  MetricValues const& values = list(report_key);
  return values.size() == 1 ? values.front() : not_measured;
}

MetricValues const& MetricMap::list(std::string_view report_key) const {
  static MetricValues const none;
  metric_of_report(report_key);
  auto const found = values_.find(report_key);
  return found == values_.end() ? none : found->second;
}

void MetricMap::set(std::string_view report_key, MetricValues values) {
  values_.insert_or_assign(metric_of_report(report_key).report_key, std::move(values));
}

bool MetricMap::contains(std::string_view report_key) const { return values_.contains(metric_of_report(report_key).report_key); }

std::vector<Metric> const& all_metrics() { return table(); }

void add_metric(Metric metric) {
  bool const taken = std::any_of(table().begin(), table().end(), [&](Metric const& other) {
    return other.source.index() == metric.source.index() && other.key == metric.key;
  });
  if (taken || (metric.in_reports() && find_in_reports(metric.report_key)))
    throw std::logic_error("there is a metric '" + metric.key + "' already");
  table().push_back(std::move(metric));
}

std::vector<Metric const*> training_curves() {
  std::vector<Metric const*> rows;
  for (Metric const& metric : table())
    if (metric.group == Group::training) rows.push_back(&metric);
  return rows;
}

Metric const& metric_of_report(std::string_view report_key) {
  Metric const* const found = find_in_reports(report_key);
  if (!found) throw std::logic_error("no metric has the key '" + std::string(report_key) + "' in reports");
  return *found;
}

Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json metric_json(Metric const& metric, double value) {
  return metric.integer && std::isfinite(value) ? Json(static_cast<int64_t>(value)) : finite_or_null(value);
}

Json metric_json(Metric const& metric, MetricValues const& values) {
  if (metric.each == Each::run) return metric_json(metric, values.empty() ? not_measured : values.front());
  Json array = Json::array();
  for (double const value : values) array.push_back(metric_json(metric, value));
  return array;
}

template <typename Reading>
Json metrics_json(Reading const& reading) {
  Json record = Json::object();
  for (Metric const& metric : table())
    if (auto const* const read = std::get_if<Read<Reading>>(&metric.source))
      if (auto const values = (*read)(reading)) record[metric.key] = metric_json(metric, *values);
  return record;
}

template <typename Reading>
void take_metrics(nlohmann::json const& record, MetricMap& values) {
  for (Metric const& metric : table())
    if (std::holds_alternative<Read<Reading>>(metric.source))
      if (auto const found = record.find(metric.key); found != record.end()) values.set(metric.report_key, read_values(*found));
}

template Json metrics_json(RunFacts const&);
template Json metrics_json(TrainReading const&);
template Json metrics_json(ValidationReading const&);
template Json metrics_json(EndReading const&);
template Json metrics_json(Decoding const&);
template Json metrics_json(TaskReading const&);
template void take_metrics<RunFacts>(nlohmann::json const&, MetricMap&);
template void take_metrics<ValidationReading>(nlohmann::json const&, MetricMap&);
template void take_metrics<EndReading>(nlohmann::json const&, MetricMap&);

void derive_metrics(Config const& config, MetricMap& values) {
  for (Metric const& metric : table())
    if (auto const* const derive = std::get_if<Derive>(&metric.source))
      if (auto derived = (*derive)(config, values)) values.set(metric.report_key, std::move(*derived));
}

std::string format_metric(Metric const& metric, double value) {
  if (!std::isfinite(value)) return "-";
  switch (metric.format) {
    case Format::decimals:
      return fmt::format("{:.{}f}", value, metric.digits);
    case Format::percent:
      return fmt::format("{:.{}f} %", 100 * value, metric.digits);
    case Format::signed_percent:
      return fmt::format("{:+.{}f} %", value, metric.digits);
    case Format::si:
    case Format::scientific:
      return format_si(value);
    case Format::bytes:
      return format_bytes(value);
    case Format::milliseconds:
      return fmt::format("{:.1f} ms", 1e3 * value);
    case Format::duration:
      return format_seconds(value);
  }
  return "";
}

}  // namespace isobath
