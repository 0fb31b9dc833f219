// The report for a terminal.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/ledger/ledger.h"
#include "trainer/report/report.h"
#include "trainer/report/routing.h"

namespace isobath {
namespace {

using Row = std::vector<std::string>;

// Aligns the first column left, the others right.
std::string columns(std::vector<Row> const& rows) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (Row const& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (Row const& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i)
      line += i == 0 ? fmt::format("  {:<{}}", row[i], widths[i]) : fmt::format("  {:>{}}", row[i], widths[i]);
    text += line + "\n";
  }
  return text;
}

std::string with_spread(Spread const& s, int digits) {
  if (!std::isfinite(s.mean)) return "-";
  return s.n < 2 ? fmt::format("{:.{}f}", s.mean, digits) : fmt::format("{:.{}f} +- {:.{}f}", s.mean, digits, s.std, digits);
}

std::string count(double value) { return std::isfinite(value) ? format_si(value) : "-"; }

std::string in_percent(double share) { return std::isfinite(share) ? fmt::format("{:.1f} %", 100 * share) : "-"; }
std::string three_digits(double value) { return std::isfinite(value) ? fmt::format("{:.3f}", value) : "-"; }

// Means over layers and seeds; empty without routed arms.
std::string routing_table(Report const& report) {
  std::vector<Row> rows{{"arm", "capacity", "causal over top-k", "precision", "recall", "F1", "F1 ceiling"}};
  for (ArmResult const& arm : report.arms) {
    if (!arm.plan()->uses_noncausal_routing()) continue;
    double const gap = causal_gap_percent(arm);
    rows.push_back({arm.name,
                    in_percent(spread(arm.plan()->capacities()).mean) + " -> " + in_percent(routing_mean(arm, &ValidationPoint::capacity)),
                    std::isfinite(gap) ? fmt::format("{:+.3f} %", gap) : "-", in_percent(routing_mean(arm, &ValidationPoint::precision)),
                    in_percent(routing_mean(arm, &ValidationPoint::recall)), three_digits(routing_mean(arm, &ValidationPoint::f1)),
                    three_digits(routing_mean(arm, &ValidationPoint::f1_ceiling))});
  }
  return rows.size() > 1 ? columns(rows) : "";
}

// Arms with branches of different depth or learned factors; empty without such arms.
std::string depth_table(Report const& report) {
  std::vector<Row> rows{{"arm", "mean depth", "causal loss", "best in hindsight", "head-room"}};
  for (ArmResult const& arm : report.arms) {
    double const planned = arm.plan()->mean_depth();
    if (planned == 0) continue;
    double const best = oracle_loss(arm), room = 100 * (arm.loss_causal.mean / best - 1);
    rows.push_back({arm.name, fmt::format("{:.2f} -> {:.2f}", planned, mean_depth(arm)), fmt::format("{:.4f}", arm.loss_causal.mean),
                    std::isfinite(best) ? fmt::format("{:.4f}", best) : "-", std::isfinite(room) ? fmt::format("{:.2f} %", room) : "-"});
  }
  return rows.size() > 1 ? columns(rows) : "";
}

// Decoding speed; empty when it was not measured.
std::string decoding_table(Report const& report) {
  auto const batches = report.decoded_batches();
  if (batches.empty()) return "";
  Row head{"from the cache"};
  for (int64_t const batch : batches)
    for (char const* what : {"tok/s", "KV/tok", "blocks/tok"}) head.push_back(fmt::format("{} by {}", what, batch));
  std::vector<Row> rows{head};
  for (ArmResult const& arm : report.arms) {
    Row row{arm.name};
    for (int64_t const batch : batches) {
      Decoding const* const one = arm.decoded(batch);
      row.push_back(one ? count(one->tokens_per_s) : "-");
      row.push_back(one ? format_bytes(one->kv_bytes_per_token) : "-");
      row.push_back(one ? fmt::format("{:.2f}", one->blocks_per_token) : "-");
    }
    rows.push_back(row);
  }
  return columns(rows);
}

}  // namespace

std::string report_table(Report const& report) {
  std::string text = report.name + "\n";
  if (!report.arms.empty()) {
    std::vector<Row> quality{{"arm", "seeds", "causal loss", "top-k loss", "bits/byte", "vs " + report.best_dense}};
    std::vector<Row> cost{
        {"arm", "layers", "params", "fwd FLOPs/tok", "causal", "train FLOPs", "tokens", "epochs", "step", "tok/s", "memory", "KV/tok"}};
    for (ArmResult const& arm : report.arms) {
      RunResult const& run = arm.runs.front();
      Pair const* pair = report.pair(arm.name, report.best_dense, "flops");
      quality.push_back({arm.name, std::to_string(arm.runs.size()), with_spread(arm.loss_causal, 4), with_spread(arm.loss_topk, 4),
                         with_spread(arm.bits_per_byte_causal, 4),
                         pair && pair->difference.n > 0 ? fmt::format("{:+.2f} %", pair->difference.percent) : "-"});
      cost.push_back({arm.name, std::to_string(run.config.model.layers), count(static_cast<double>(run.params)),
                      count(run.forward_flops_topk), count(arm.forward_flops_causal), count(static_cast<double>(arm.train_flops)),
                      count(arm.tokens), fmt::format("{:.2f}", arm.epochs),
                      std::isfinite(arm.step_time_s) ? fmt::format("{:.1f} ms", 1e3 * arm.step_time_s) : "-", count(arm.tokens_per_s),
                      format_bytes(static_cast<double>(arm.peak_memory_bytes)), format_bytes(arm.kv_bytes_per_token)});
    }
    text += "\n" + columns(quality) + "\n" + columns(cost);
    for (std::string const& table : {routing_table(report), depth_table(report), decoding_table(report)})
      if (!table.empty()) text += "\n" + table;
  }
  text += "\n" + report.headline + "\n";
  if (!report.challenger.empty())
    if (Pair const* time = report.pair(report.challenger, report.best_dense, "time"))
      text += "at equal time: " + time->verdict + "\n  (" + time->note + ")\n";
  for (Pair const& pair : report.pairs)
    if (pair.basis == "flops" && !(pair.arm == report.challenger && pair.baseline == report.best_dense))
      text += fmt::format("{} against {}: {}\n", pair.arm, pair.baseline, pair.verdict);
  for (std::string const& warning : report.warnings) text += "note: " + warning + "\n";
  for (std::string const& run : report.incomplete) text += "incomplete: " + run + "\n";
  return text;
}

}  // namespace isobath
