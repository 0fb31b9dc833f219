// Tables of the HTML report.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/depth/plan.h"
#include "model/ledger/ledger.h"
#include "trainer/report/html/histogram.h"
#include "trainer/report/html/markup.h"
#include "trainer/report/html/page.h"
#include "trainer/report/routing.h"

namespace isobath {
namespace {

class ArmTable {
 public:
  explicit ArmTable(Report const& report) : report_(report) {
    html_ = "<div class=\"scroll\"><table><thead><tr><th></th>";
    for (size_t i = 0; i < report.arms.size(); ++i)
      html_ += fmt::format("<th class=\"c{}\">{}</th>", i % report_colors, escape_html(report.arms[i].name));
    html_ += "</tr></thead><tbody>";
  }
  void group(std::string const& title) {
    html_ += fmt::format("<tr class=\"group\"><th colspan=\"{}\">{}</th></tr>", report_.arms.size() + 1, title);
  }
  template <typename Cell>
  void row(char const* label, Cell cell, ArmResult const* best = nullptr) {
    html_ += fmt::format("<tr><th>{}</th>", label);
    for (ArmResult const& arm : report_.arms) html_ += fmt::format("<td{}>{}</td>", &arm == best ? " class=\"best\"" : "", cell(arm));
    html_ += "</tr>";
  }
  std::string done() { return html_ + "</tbody></table></div>"; }

 private:
  Report const& report_;
  std::string html_;
};

// A column of the table of routed layers.
struct RoutingColumn {
  char const* head;
  char const* meaning;  // explains `head` to the reader; may be empty
  LayerValues values;
  bool percent;
};

// The columns that at least one arm has values for.
std::vector<RoutingColumn> routing_columns(Report const& report) {
  using Point = ValidationPoint;
  std::vector<RoutingColumn> columns{
      {"Realised capacity", "", &Point::capacity, true},
      {"Precision", "", &Point::precision, true},
      {"Recall", "", &Point::recall, true},
      {"F1", "of the causal decision, against the tokens that top-k picks", &Point::f1, false},
      {"F1 ceiling", "what the best fixed threshold reaches on the very same scores", &Point::f1_ceiling, false},
      {"F1 / ceiling", "how much of that the causal decision reaches", f1_of_ceiling, true},
      {"Token entropy", "how varied the chosen tokens are: 1 as varied as the text, near 0 only a few different ones",
       &Point::token_entropy, false},
      {"Position entropy", "how evenly the choice spreads over the sequence: 1 evenly, near 0 only a few places", &Point::position_entropy,
       false},
      {"Dead", "share of the text made of vocabulary items that the layer never chose (items seen at least 16 times)", &Point::dead_tokens,
       true},
      {"Always on", "the same for items that it always chose", &Point::always_on_tokens, true},
  };
  std::erase_if(columns, [&](RoutingColumn const& column) {
    return std::none_of(report.arms.begin(), report.arms.end(),
                        [&](ArmResult const& arm) { return std::isfinite(routing_mean(arm, column.values)); });
  });
  return columns;
}

std::string routing_rows(ArmResult const& arm, std::vector<RoutingColumn> const& columns, std::vector<int64_t> const& layers) {
  std::vector<std::string> rows;
  for (int64_t layer : layers) rows.push_back(fmt::format("<td>{}</td>", layer));
  for (RoutingColumn const& column : columns) {
    std::vector<double> means = layer_means(arm, column.values);
    means.resize(rows.size(), NAN);
    for (size_t i = 0; i < rows.size(); ++i) {
      std::string const cell = !std::isfinite(means[i]) ? "\u2013"
                               : column.percent         ? fmt::format("{:.1f}\u00a0%", 100 * means[i])
                                                        : fmt::format("{:.3f}", means[i]);
      rows[i] += "<td>" + cell + "</td>";
    }
  }
  std::string html;
  for (std::string const& row : rows) html += "<tr>" + row + "</tr>";
  return html;
}

// One small histogram per routed layer, of the first seed.
std::string score_histograms(ArmResult const& arm, size_t color, std::vector<int64_t> const& layers) {
  RunResult const& run = arm.runs.front();
  std::string charts;
  for (size_t i = 0; i < std::min(layers.size(), run.result.scores.size()); ++i)
    if (!run.result.scores[i].empty()) charts += histogram_svg(run.result.scores[i], fmt::format("layer {}", layers[i]));
  if (charts.empty()) return "";
  return fmt::format(
      "<figure class=\"histograms c{}\"><figcaption>Router scores of all tokens (pale) and of those that top-k picks (coloured), seed "
      "{}</figcaption>{}</figure>",
      color, run.config.seed, charts);
}

}  // namespace

std::string html_results(Report const& report) {
  ArmResult const* best = nullptr;  // among arms with every seed: means over different seeds cannot be compared
  for (ArmResult const& arm : report.arms)
    if (arm.runs.size() == report.seeds().size() && (!best || arm.loss_causal.mean < best->loss_causal.mean)) best = &arm;
  auto const si = [](double value) { return std::isfinite(value) ? format_si(value) : std::string("\u2013"); };
  auto const first = [](ArmResult const& arm) -> RunResult const& { return arm.runs.front(); };

  ArmTable table(report);
  table.group("Quality, at the end");
  table.row(
      "Loss, causal routing (nats per token)", [](auto const& a) { return with_spread(a.loss_causal, 4); }, best);
  table.row("Loss, top-k routing", [](auto const& a) { return with_spread(a.loss_topk, 4); });
  table.row("Causal over top-k loss", [](auto const& a) {
    double const gap = causal_gap_percent(a);
    return std::isfinite(gap) ? signed_number(gap, 3) + "\u00a0%" : std::string("\u2013");
  });
  table.row("Bits per byte, causal routing", [](auto const& a) { return with_spread(a.bits_per_byte_causal, 4); });
  table.row("Bits per byte, top-k routing", [](auto const& a) { return with_spread(a.bits_per_byte_topk, 4); });
  table.row(("Against " + escape_html(report.best_dense)).c_str(), [&](auto const& a) {
    Pair const* pair = report.pair(a.name, report.best_dense, "flops");
    return pair && pair->difference.n > 0 ? signed_number(pair->difference.percent, 2) + "\u00a0%" : std::string("\u2013");
  });
  bool const any_oracle =
      std::any_of(report.arms.begin(), report.arms.end(), [](ArmResult const& a) { return std::isfinite(oracle_loss(a)); });
  if (any_oracle)
    table.row("Best branch in hindsight, same mean depth",
              [](auto const& a) { return std::isfinite(oracle_loss(a)) ? fmt::format("{:.4f}", oracle_loss(a)) : std::string("\u2013"); });
  table.row("Seeds", [](auto const& a) { return std::to_string(a.runs.size()); });
  table.group("Model and compute");
  table.row("Layers", [](auto const& a) { return std::to_string(a.config().model.layers); });
  table.row("Routed layers", [](auto const& a) {
    std::string const routing = describe_routing(a.config());
    return routing.empty() ? std::string("\u2013") : routing;
  });
  bool const any_depth = std::any_of(report.arms.begin(), report.arms.end(), [](ArmResult const& a) { return !a.dense(); });
  if (any_depth)
    table.row("Layers a token goes through, mean",
              [](auto const& a) { return std::isfinite(mean_depth(a)) ? fmt::format("{:.2f}", mean_depth(a)) : std::string("\u2013"); });
  table.row("MLP width", [](auto const& a) { return std::to_string(resolved_mlp_width(a.config().model)); });
  table.row("Parameters", [&](auto const& a) { return si(static_cast<double>(first(a).params)); });
  table.row("\u2026 without embeddings", [&](auto const& a) { return si(static_cast<double>(first(a).params_non_embedding)); });
  table.row("Forward FLOPs per token, top-k", [&](auto const& a) { return si(first(a).forward_flops_topk); });
  table.row("Forward FLOPs per token, causal", [&](auto const& a) { return si(a.forward_flops_causal); });
  table.row("Training FLOPs, realised", [](auto const& a) { return scientific(static_cast<double>(a.train_flops)); });
  table.row("Training tokens", [&](auto const& a) { return si(a.tokens); });
  table.row("Steps", [](auto const& a) { return fmt::format("{:.0f}", a.steps); });
  table.row("Epochs", [](auto const& a) { return fmt::format("{:.2f}", a.epochs); });
  table.group("Speed and memory, as measured");
  table.row("Step time, median", [](auto const& a) {
    return std::isfinite(a.step_time_s) ? fmt::format("{:.1f} ms", 1e3 * a.step_time_s) : std::string("\u2013");
  });
  table.row("Tokens per second", [&](auto const& a) { return si(a.tokens_per_s); });
  table.row("Training time", [](auto const& a) { return format_seconds(a.time_s); });
  table.row("Peak memory (of the process; on a GPU of its tensors)",
            [](auto const& a) { return format_bytes(static_cast<double>(a.peak_memory_bytes)); });
  table.row("Keys and values per token, planned", [](auto const& a) { return format_bytes(a.kv_bytes_per_token); });
  for (int64_t const batch : report.decoded_batches()) {
    auto const cell = [batch](ArmResult const& arm, auto text) {
      Decoding const* const one = arm.decoded(batch);
      return one ? std::string(text(*one)) : std::string("\u2013");
    };
    table.group(fmt::format("Text from the cache, {} at a time, as measured", batch == 1 ? "one" : std::to_string(batch)));
    table.row("Tokens per second", [&](auto const& a) { return cell(a, [&](Decoding const& d) { return si(d.tokens_per_s); }); });
    table.row("Keys and values per token",
              [&](auto const& a) { return cell(a, [](Decoding const& d) { return format_bytes(d.kv_bytes_per_token); }); });
    table.row("Blocks per token",
              [&](auto const& a) { return cell(a, [](Decoding const& d) { return fmt::format("{:.2f}", d.blocks_per_token); }); });
  }
  return "<h2>Results</h2><p class=\"note\">Mean \u00b1 standard deviation over seeds.</p>" + table.done();
}

std::string html_pairs(Report const& report) {
  if (report.pairs.empty()) return "";
  std::string rows;
  for (Pair const& pair : report.pairs) {
    PairedDifference const& d = pair.difference;
    std::string const interval =
        d.half_width ? fmt::format("{} \u2026 {}", signed_number(d.percent - *d.half_width, 2), signed_number(d.percent + *d.half_width, 2))
                     : "\u2013";
    rows += fmt::format("<tr><td>{} against {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", escape_html(pair.arm),
                        escape_html(pair.baseline), pair.basis == "flops" ? "FLOPs" : "time", d.n ? signed_number(d.percent, 2) : "\u2013",
                        interval, d.n);
  }
  return "<h2>Every pair</h2><p class=\"note\">Difference of the causal loss in per cent, seed by seed; below zero the "
         "first arm is better.</p>"
         "<div class=\"scroll\"><table><thead><tr><th>Pair</th><th>At equal</th><th>Difference, %</th><th>95\u00a0% "
         "interval</th><th>Seeds</th></tr></thead><tbody>" +
         rows + "</tbody></table></div>";
}

std::string html_routing(Report const& report) {
  std::string html;
  auto const columns = routing_columns(report);
  for (size_t a = 0; a < report.arms.size(); ++a) {
    ArmResult const& arm = report.arms[a];
    auto const layers = routed_layers(arm.config().model, arm.config().depth);
    if (layers.empty() || layer_means(arm, &ValidationPoint::capacity).size() != layers.size()) continue;
    int64_t const T = arm.config().model.context;
    double const ceiling = threshold_f1_ceiling(rows_of_capacity(arm.config().depth.capacity.front(), T), T);
    bool const planned = arm.plan()->has_capacity();
    std::string note = arm.plan()->explain_shares();
    int64_t const calibration = arm.runs.front().result.calibration_tokens;
    note += calibration > 0 ? fmt::format("decisions calibrated on {} tokens of training text", calibration) : "decisions as trained";
    if (planned && !std::isfinite(routing_mean(arm, &ValidationPoint::f1_ceiling)))
      note += fmt::format("; against top-k picks, the best fixed threshold on independent scores would reach an F1 of {:.3f} at {} tokens",
                          ceiling, T);
    std::string heads;
    for (RoutingColumn const& column : columns) heads += fmt::format("<th>{}</th>", column.head);
    html += fmt::format(
        "<h3>{}</h3><p class=\"note\">{}.</p><div class=\"scroll\"><table class=\"layers\">"
        "<thead><tr><th>Layer (from\u00a00)</th>{}</tr></thead><tbody>{}</tbody></table></div>{}",
        escape_html(arm.name), note, heads, routing_rows(arm, columns, layers), score_histograms(arm, a % report_colors, layers));
  }
  if (html.empty()) return "";
  std::string terms;
  for (RoutingColumn const& column : columns)
    if (*column.meaning) terms += fmt::format("<dt>{}</dt><dd>{}</dd>", column.head, column.meaning);
  return "<h2>Causal routing, layer by layer</h2>" + html + "<dl class=\"terms\">" + terms + "</dl>";
}

}  // namespace isobath
