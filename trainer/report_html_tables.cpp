// Tables of the HTML report, and the text coloured by depth.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/capacity.h"
#include "model/plan.h"
#include "trainer/report_html.h"
#include "trainer/report_markup.h"

namespace isobath {
namespace {

constexpr size_t most_pieces = 1500;

class ArmTable {
 public:
  explicit ArmTable(Report const& report) : report_(report) {
    html_ = "<div class=\"scroll\"><table><thead><tr><th></th>";
    for (size_t i = 0; i < report.arms.size(); ++i)
      html_ += fmt::format("<th class=\"c{}\">{}</th>", i % report_colors, escape_html(report.arms[i].name));
    html_ += "</tr></thead><tbody>";
  }
  void group(char const* title) {
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

// Mean over seeds of a per-layer list of the last validation.
std::vector<double> layer_means(ArmResult const& arm, std::vector<double> ValidationPoint::*list) {
  std::vector<double> sums;
  for (RunResult const& run : arm.runs) {
    std::vector<double> const& values = run.result.*list;
    if (sums.empty()) sums.resize(values.size(), 0);
    for (size_t i = 0; i < std::min(sums.size(), values.size()); ++i) sums[i] += values[i];
  }
  for (double& sum : sums) sum /= static_cast<double>(arm.runs.size());
  return sums;
}

}  // namespace

std::string html_results(Report const& report) {
  ArmResult const* best = &report.arms.front();
  for (ArmResult const& arm : report.arms)
    if (arm.loss_causal.mean < best->loss_causal.mean) best = &arm;
  auto const si = [](double value) { return std::isfinite(value) ? format_si(value) : std::string("\u2013"); };
  auto const first = [](ArmResult const& arm) -> RunResult const& { return arm.runs.front(); };

  ArmTable table(report);
  table.group("Quality, at the end");
  table.row(
      "Loss, causal routing (nats per token)", [](auto const& a) { return with_spread(a.loss_causal, 4); }, best);
  table.row("Loss, top-k routing", [](auto const& a) { return with_spread(a.loss_topk, 4); });
  table.row("Bits per byte, causal routing", [](auto const& a) { return with_spread(a.bits_per_byte_causal, 4); });
  table.row("Bits per byte, top-k routing", [](auto const& a) { return with_spread(a.bits_per_byte_topk, 4); });
  table.row(("Against " + escape_html(report.best_dense)).c_str(), [&](auto const& a) {
    Pair const* pair = report.pair(a.name, report.best_dense, "flops");
    return pair && pair->difference.n > 0 ? signed_number(pair->difference.percent, 2) + "\u00a0%" : std::string("\u2013");
  });
  table.row("Seeds", [](auto const& a) { return std::to_string(a.runs.size()); });
  table.group("Model and compute");
  table.row("Layers", [](auto const& a) { return std::to_string(a.config().model.layers); });
  table.row("Routed layers", [](auto const& a) {
    auto const n = routed_layers(a.config().model, a.config().depth).size();
    return n ? fmt::format("{} at {}", n, capacity_text(a.config().depth)) : std::string("\u2013");
  });
  table.row("MLP width", [](auto const& a) { return std::to_string(resolved_mlp_width(a.config().model)); });
  table.row("Parameters", [&](auto const& a) { return si(static_cast<double>(first(a).params)); });
  table.row("\u2026 without embeddings", [&](auto const& a) { return si(static_cast<double>(first(a).params_non_embedding)); });
  table.row("Forward FLOPs per token, top-k", [&](auto const& a) { return si(first(a).forward_flops_topk); });
  table.row("Forward FLOPs per token, causal", [&](auto const& a) { return si(a.forward_flops_causal); });
  table.row("Training FLOPs, realised", [&](auto const& a) { return scientific(static_cast<double>(first(a).train_flops)); });
  table.row("Training tokens", [&](auto const& a) { return si(static_cast<double>(first(a).tokens)); });
  table.row("Steps", [&](auto const& a) { return std::to_string(first(a).step); });
  table.row("Epochs", [&](auto const& a) { return fmt::format("{:.2f}", first(a).epochs); });
  table.group("Speed and memory, as measured");
  table.row("Step time, median", [](auto const& a) {
    return std::isfinite(a.step_time_s) ? fmt::format("{:.1f} ms", 1e3 * a.step_time_s) : std::string("\u2013");
  });
  table.row("Tokens per second", [&](auto const& a) { return si(a.tokens_per_s); });
  table.row("Training time", [](auto const& a) { return format_seconds(a.time_s); });
  table.row("Peak memory (of the process; on a GPU of its tensors)",
            [](auto const& a) { return format_bytes(static_cast<double>(a.peak_memory_bytes)); });
  table.row("Keys and values per token", [](auto const& a) { return format_bytes(a.kv_bytes_per_token); });
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
  auto const percent = [](double value) {
    return std::isfinite(value) ? fmt::format("{:.1f}\u00a0%", 100 * value) : std::string("\u2013");
  };
  for (ArmResult const& arm : report.arms) {
    auto const layers = routed_layers(arm.config().model, arm.config().depth);
    auto const capacity = layer_means(arm, &ValidationPoint::capacity), precision = layer_means(arm, &ValidationPoint::precision),
               recall = layer_means(arm, &ValidationPoint::recall);
    if (layers.empty() || capacity.size() != layers.size()) continue;
    int64_t const T = arm.config().model.context;
    double const ceiling = threshold_f1_ceiling(rows_of_capacity(arm.config().depth.capacity.front(), T), T);
    std::string rows;
    for (size_t i = 0; i < layers.size(); ++i) {
      double const p = i < precision.size() ? precision[i] : NAN, r = i < recall.size() ? recall[i] : NAN;
      double const f1 = p + r > 0 ? 2 * p * r / (p + r) : (std::isfinite(p + r) ? 0 : NAN);
      rows += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", layers[i], percent(capacity[i]), percent(p),
                          percent(r), std::isfinite(f1) ? fmt::format("{:.3f}", f1) : "\u2013");
    }
    html += fmt::format(
        "<h3>{}</h3><p class=\"note\">Planned capacity {}; against top-k picks, the best fixed threshold on "
        "independent scores would reach an F1 of {:.3f} at {} tokens.</p>"
        "<div class=\"scroll\"><table><thead><tr><th>Layer (from 0)</th><th>Realised "
        "capacity</th><th>Precision</th><th>Recall</th><th>F1</th></tr></thead><tbody>{}</tbody></table></div>",
        escape_html(arm.name), capacity_text(arm.config().depth), ceiling, T, rows);
  }
  return html.empty() ? "" : "<h2>Causal routing, layer by layer</h2>" + html;
}

std::string html_depth_text(Report const& report) {
  RunResult const* run = nullptr;
  auto const look = [&](ArmResult const& arm) {
    if (!run && !arm.dense() && !arm.runs.front().depth_text.empty()) run = &arm.runs.front();
  };
  if (ArmResult const* challenger = report.arm(report.challenger)) look(*challenger);
  for (ArmResult const& arm : report.arms) look(arm);
  if (!run) return "";

  DepthText const& text = run->depth_text;
  int64_t const least = *std::min_element(text.depth.begin(), text.depth.end());
  auto const shade = [&](int64_t depth) {
    double const share = text.layers > least ? static_cast<double>(depth - least) / static_cast<double>(text.layers - least) : 0;
    return fmt::format("background:rgba(var(--depth),{:.2f})", 0.62 * share);
  };
  std::string spans, legend;
  size_t const shown = std::min(most_pieces, text.pieces.size());
  for (size_t i = 0; i < shown; ++i) {
    std::string const loss = std::isfinite(text.loss[i]) ? fmt::format(", loss {:.2f}", text.loss[i]) : "";
    spans += fmt::format("<span style=\"{}\" title=\"{} of {} blocks{}\">{}</span>", shade(text.depth[i]), text.depth[i], text.layers, loss,
                         escape_html(text.pieces[i]));
  }
  for (int64_t depth = least; depth <= text.layers; ++depth) {
    auto const count = std::count(text.depth.begin(), text.depth.end(), depth);
    legend += fmt::format("<li><i class=\"swatch\" style=\"{}\"></i>{} blocks <span class=\"soft\">{:.0f}\u00a0%</span></li>", shade(depth),
                          depth, 100.0 * static_cast<double>(count) / static_cast<double>(text.depth.size()));
  }
  return fmt::format(
      "<h2>Where the compute goes</h2><p class=\"note\">A validation text under causal routing in {}, seed {}: the "
      "stronger the shade, the more of the {} blocks a token went through. "
      "Hold the pointer over a token for its loss.</p><ul class=\"legend\">{}</ul><div class=\"text-box\">{}</div>",
      escape_html(run->arm), run->config.seed, text.layers, legend, spans);
}

}  // namespace isobath
