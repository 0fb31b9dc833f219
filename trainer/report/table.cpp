// The report for a terminal.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/columns.h"
#include "trainer/report/report.h"

namespace isobath {
namespace {

using Row = std::vector<std::string>;

std::string cell(ArmResult const& arm, Metric const& metric) {
  std::string text = format_metric(metric, arm[metric.report_key]);
  if (metric.over_seeds != OverSeeds::spread) return text;
  Spread const s = arm.spread(metric.report_key);
  return s.n < 2 ? text : text + " +- " + format_metric(metric, s.std);
}

bool is_measured(ArmResult const& arm, Metric const* metric) { return std::isfinite(arm[metric->report_key]); }

// The columns of a group: metrics with a heading that at least one arm has measured.
std::vector<Metric const*> group_columns(Report const& report, Group group) {
  std::vector<Metric const*> shown;
  for (Metric const& metric : all_metrics())
    if (metric.group == group && !metric.heading.empty() &&
        std::any_of(report.arms.begin(), report.arms.end(), [&](ArmResult const& arm) { return is_measured(arm, &metric); }))
      shown.push_back(&metric);
  return shown;
}

// A row for each arm that has measured anything of the group; empty when none has.
std::string group_table(Report const& report, Group group) {
  std::vector<Metric const*> const shown = group_columns(report, group);
  std::vector<Row> rows{{"arm"}};
  for (Metric const* metric : shown) rows.front().push_back(metric->heading);
  for (ArmResult const& arm : report.arms) {
    if (std::none_of(shown.begin(), shown.end(), [&](Metric const* metric) { return is_measured(arm, metric); })) continue;
    Row& row = rows.emplace_back(Row{arm.name});
    for (Metric const* metric : shown) row.push_back(cell(arm, *metric));
  }
  return rows.size() > 1 ? aligned_columns(rows) : "";
}

// The losses, with the number of seeds and the difference from the best dense arm.
std::string quality_table(Report const& report) {
  std::vector<Metric const*> const shown = group_columns(report, Group::quality);
  std::vector<Row> rows{{"arm", "seeds"}};
  for (Metric const* metric : shown) rows.front().push_back(metric->heading);
  rows.front().push_back("vs " + report.best_dense);
  for (ArmResult const& arm : report.arms) {
    Row& row = rows.emplace_back(Row{arm.name, std::to_string(arm.runs.size())});
    for (Metric const* metric : shown) row.push_back(cell(arm, *metric));
    Pair const* pair = report.pair(arm.name, report.best_dense, "flops");
    row.push_back(pair && pair->difference.n > 0 ? fmt::format("{:+.2f} %", pair->difference.percent) : "-");
  }
  return aligned_columns(rows);
}

// Decoding speed by batch size; empty when it was not measured.
std::string decoding_table(Report const& report) {
  auto const batches = report.decoded_batches();
  if (batches.empty()) return "";
  std::vector<Row> rows{{"from the cache"}};
  for (int64_t const batch : batches)
    for (Metric const& metric : all_metrics())
      if (metric.of_decoding() && !metric.heading.empty()) rows.front().push_back(fmt::format("{} by {}", metric.heading, batch));
  for (ArmResult const& arm : report.arms) {
    Row& row = rows.emplace_back(Row{arm.name});
    for (int64_t const batch : batches)
      for (Metric const& metric : all_metrics()) {
        auto const* const read = std::get_if<Read<Decoding>>(&metric.source);
        if (!read || metric.heading.empty()) continue;
        Decoding const* const decoded = arm.decoded(batch);
        auto const value = decoded ? (*read)(*decoded) : std::nullopt;
        row.push_back(value ? format_metric(metric, value->front()) : "-");
      }
  }
  return aligned_columns(rows);
}

}  // namespace

std::string report_table(Report const& report) {
  std::string text = report.name + (report.budget.empty() ? "" : ", budget " + report.budget + " a run") + "\n";
  if (!report.arms.empty()) {
    text += "\n" + quality_table(report);
    for (Group const group : {Group::compute, Group::speed, Group::routing, Group::depth})
      if (std::string const table = group_table(report, group); !table.empty()) text += "\n" + table;
    for (std::string const& table : {decoding_table(report), task_tables(report)})
      if (!table.empty()) text += "\n" + table;
  }
  if (report.tuning) text += "\n" + tuning_table(*report.tuning, report.tuning_share);
  if (!report.sweep.empty()) text += "\n" + sweep_table(report.sweep);
  if (std::string const scaling = scaling_table(report.scaling); !scaling.empty()) text += "\n" + scaling;
  text += "\n" + report.headline + "\n";
  if (!report.challenger.empty())
    if (Pair const* time = report.pair(report.challenger, report.best_dense, "time"))
      text += "at equal time: " + time->verdict + "\n  (" + time->note + ")\n";
  for (Pair const& pair : report.pairs)
    if (pair.basis == "cost" && pair.arm == report.challenger)
      text += fmt::format("at equal {}: {}\n  ({})\n", pair.cost, pair.verdict, pair.note);
  for (Pair const& pair : report.pairs)
    if (pair.basis == "flops" && !(pair.arm == report.challenger && pair.baseline == report.best_dense))
      text += fmt::format("{} against {}: {}\n", pair.arm, pair.baseline, pair.verdict);
  for (Pair const& pair : report.pairs)
    if (pair.basis == "tokens")
      text += fmt::format("{}, a bound for {}, on the same tokens: {}\n  ({})\n", pair.arm, pair.baseline, pair.verdict, pair.note);
  for (std::string const& warning : report.warnings) text += "note: " + warning + "\n";
  for (std::string const& run : report.incomplete) text += "incomplete: " + run + "\n";
  return text;
}

}  // namespace isobath
