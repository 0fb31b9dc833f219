#pragma once
// The table of metrics: every number that a run measures or a report derives is declared once, as one row. Records (metrics.jsonl),
// report.json, the terminal's tables, the HTML page and docs/metrics.md are written from these rows. No LibTorch.

#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/config.h"
#include "trainer/metrics/readings.h"

namespace isobath {

// The values of one metric in one record: a single one, or one per routed layer, branch or bound. NaN: not measured.
using MetricValues = std::vector<double>;

// The metrics of a run or a validation, by their key in reports. Throws std::logic_error for a key that no row declares.
class MetricMap {
 public:
  double operator[](std::string_view report_key) const;  // the single value; NaN where there is none
  MetricValues const& list(std::string_view report_key) const;
  void set(std::string_view report_key, MetricValues values);
  bool contains(std::string_view report_key) const;
  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }

 private:
  std::map<std::string, MetricValues, std::less<>> values_;
};

// Where a metric comes from: read from what was measured for a record of a kind, or derived by the report from a run's configuration and
// other metrics (those of earlier rows included). nullopt: this run has no such metric, and its record no such key.
template <typename Reading>
using Read = std::function<std::optional<MetricValues>(Reading const&)>;
using Derive = std::function<std::optional<MetricValues>(Config const&, MetricMap const&)>;

enum class Each { run, routed_layer, branch, bound };  // what there is one value of
enum class OverSeeds { spread, mean, median, most };   // spread: mean and standard deviation
// signed_percent: of a value that is in per cent already. scientific: on the page; the terminal shows it as si.
enum class Format { decimals, percent, signed_percent, si, bytes, milliseconds, duration, scientific };
// Table of a report that shows it; training: drawn as a curve.
enum class Group { none, quality, compute, speed, depth, routing, decoding, training };

struct Metric {
  std::string key;   // in the record
  std::string unit;  // empty: a pure number
  std::string meaning;
  std::variant<Read<RunFacts>, Read<TrainReading>, Read<ValidationReading>, Read<EndReading>, Read<Decoding>, Read<TaskReading>, Derive>
      source;
  bool integer = false;
  Each each = Each::run;
  OverSeeds over_seeds = OverSeeds::mean;  // values of layers and of seeds are pooled
  std::string report_key = key;            // in report.json
  Group group = Group::none;
  std::string label = {};    // on the page
  std::string heading = {};  // of a column in the terminal; empty: not shown there
  Format format = Format::decimals;
  int digits = 3;  // after the point, of decimals and percents

  bool of_decoding() const { return std::holds_alternative<Read<Decoding>>(source); }  // one value per batch size
  bool of_task() const { return std::holds_alternative<Read<TaskReading>>(source); }   // one value per task and routing
  // Whether runs and arms of a report have it under report_key: not metrics of `train` records, of which reports draw curves, of decoding
  // and of tasks.
  bool in_reports() const { return !std::holds_alternative<Read<TrainReading>>(source) && !of_decoding() && !of_task(); }

  // For the rows: changes of these values, as a chain.
  Metric whole() &&;
  Metric per(Each value) &&;
  Metric over(OverSeeds value) &&;
  Metric reported_as(std::string value) &&;
  Metric shown(Group in, std::string on_page, std::string in_terminal, Format as, int with_digits = 0) &&;
};

// All rows, in the order that records and reports show them.
std::vector<Metric> const& all_metrics();
// Adds a row at the end. Throws std::logic_error when the key is taken.
void add_metric(Metric metric);
// The rows of `train` records that reports draw as curves.
std::vector<Metric const*> training_curves();
// The row with this key in reports. Throws std::logic_error when there is none.
Metric const& metric_of_report(std::string_view report_key);

// The keys and values that a reading gives to its record.
template <typename Reading>
nlohmann::ordered_json metrics_json(Reading const& reading);
// Takes the metrics of `record`, of the kind that Reading stands for, into `values`.
template <typename Reading>
void take_metrics(nlohmann::json const& record, MetricMap& values);
void derive_metrics(Config const& config, MetricMap& values);

// One value as the terminal shows it: "12.5 %", "4.32k"; "-" where it was not measured.
std::string format_metric(Metric const& metric, double value);
// JSON has no NaN: null for what was not measured.
nlohmann::ordered_json finite_or_null(double value);
// JSON of one value: null where it was not measured.
nlohmann::ordered_json metric_json(Metric const& metric, double value);
nlohmann::ordered_json metric_json(Metric const& metric, MetricValues const& values);

// docs/metrics.md: every row in Markdown tables, one table a kind of record.
std::string metric_documentation();
// The rows that reports show, for the page: key, label, unit, meaning, how values are aggregated and printed.
nlohmann::ordered_json metrics_description();

// ---- For the rows: sources that give one value.

template <typename Reading, typename Get>
Read<Reading> reads(Get get) {
  return [get](Reading const& reading) -> std::optional<MetricValues> { return MetricValues{static_cast<double>(get(reading))}; };
}
template <typename Get>
Derive derives(Get get) {  // NaN: the run has no such metric
  return [get](Config const& config, MetricMap const& values) -> std::optional<MetricValues> {
    double const value = get(config, values);
    return std::isnan(value) ? std::nullopt : std::optional(MetricValues{value});
  };
}

// The rows, by where they come from.
std::vector<Metric> run_metrics();
std::vector<Metric> train_metrics();
std::vector<Metric> validation_metrics();
std::vector<Metric> end_metrics();
std::vector<Metric> decoding_metrics();
std::vector<Metric> task_metrics();
std::vector<Metric> derived_metrics();

}  // namespace isobath
