// report.html: one file, no network, no script.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/plan.h"
#include "trainer/report.h"
#include "trainer/report_style.h"
#include "trainer/report_svg.h"

namespace isobath {
namespace {

constexpr int colors = 8;
constexpr size_t most_pieces = 1500;

std::string replace_all(std::string text, std::string const& from, std::string const& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

// A sentence of the report for reading: proper signs, no break between a number and its unit.
std::string prose(std::string const& text) {
  return replace_all(replace_all(replace_all(escape_html(text), "+-", "\u00b1"), " %", "\u00a0%"), "(-", "(\u2212");
}

std::string signed_number(double value, int digits) {
  return (value < 0 ? "\u2212" : "+") + fmt::format("{:.{}f}", std::abs(value), digits);
}

std::string with_spread(Spread const& s, int digits) {
  if (!std::isfinite(s.mean)) return "\u2013";
  std::string text = fmt::format("{:.{}f}", s.mean, digits);
  if (s.n > 1) text += fmt::format("<span class=\"spread\"> \u00b1 {:.{}f}</span>", s.std, digits);
  return text;
}

std::string superscript(int number) {
  static char const* const digits[] = {"\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074", "\u2075", "\u2076", "\u2077", "\u2078", "\u2079"};
  std::string text;
  for (char c : std::to_string(number)) text += c == '-' ? "\u207b" : digits[c - '0'];
  return text;
}

// 1.50 x 10^12
std::string scientific(double value) {
  if (!(value > 0)) return "0";
  int const exponent = static_cast<int>(std::floor(std::log10(value) + 1e-12));
  return fmt::format("{:.3f} \u00d7 10{}", value / std::pow(10, exponent), superscript(exponent));
}

// ---- verdicts ----

std::string verdict_card(std::string const& title, Pair const& pair, std::string const& arm, std::string const& note) {
  PairedDifference const& d = pair.difference;
  char const* tone = !d.shown() ? "even" : d.percent < 0 ? "better" : "worse";
  std::string const text = pair.verdict.substr(0, pair.verdict.find("; for an answer"));
  std::string const hint = pair.verdict.size() > text.size() ? "For an answer run configs/hour.yaml. " : "";
  return fmt::format("<div class=\"card\"><h3>{}</h3><p class=\"verdict {}\">{}: {}</p><p class=\"note\">{}{}</p></div>", title, tone,
                     escape_html(arm), prose(text), hint, prose(note));
}

std::string verdicts(Report const& report) {
  Pair const* flops = report.pair(report.challenger, report.best_dense, "flops");
  if (!flops) return "<p class=\"verdict even\">" + prose(report.headline) + "</p>";
  ArmResult const& arm = *report.arm(report.challenger);
  ArmResult const& other = *report.arm(report.best_dense);
  std::string const role = other.dense() && !arm.dense() ? "the best dense arm" : "the baseline";
  std::string note = fmt::format("Causal loss {:.4f} against {:.4f} of {}, {}, after {} training FLOPs each.", arm.loss_causal.mean,
                                 other.loss_causal.mean, other.name, role, scientific(static_cast<double>(other.runs.front().train_flops)));
  if (flops->difference.half_width) note += " The interval is the 95 % t-interval of the paired differences over seeds.";
  std::string cards = verdict_card("At equal training FLOPs", *flops, report.challenger, note);
  if (Pair const* time = report.pair(report.challenger, report.best_dense, "time"))
    cards += verdict_card("At equal measured time", *time, report.challenger, "This is " + time->note + ".");
  return "<div class=\"cards\">" + cards + "</div>";
}

std::string notes(Report const& report) {
  std::string items;
  for (std::string const& run : report.incomplete) items += "<li>Incomplete: " + prose(run) + "</li>";
  for (std::string const& warning : report.warnings) items += "<li>" + prose(warning) + "</li>";
  return items.empty() ? "" : "<ul class=\"warnings\">" + items + "</ul>";
}

// ---- charts ----

template <typename X>
ChartLine chart_line(ArmResult const& arm, int color, X x) {
  ChartLine line{arm.name, color, !arm.dense(), {}, {}};
  size_t shortest = arm.runs.front().curve.size();
  for (RunResult const& run : arm.runs) {
    shortest = std::min(shortest, run.curve.size());
    ChartPoints points;
    for (ValidationPoint const& point : run.curve) points.emplace_back(x(point), point.loss_causal);
    line.seeds.push_back(std::move(points));
  }
  for (size_t i = 0; i < shortest; ++i) {
    double sum_x = 0, sum_y = 0;
    for (ChartPoints const& seed : line.seeds) {
      sum_x += seed[i].first;
      sum_y += seed[i].second;
    }
    auto const n = static_cast<double>(line.seeds.size());
    line.mean.emplace_back(sum_x / n, sum_y / n);
  }
  return line;
}

template <typename X>
Chart make_chart(Report const& report, std::string const& title, std::string const& x_label, X x) {
  Chart chart{title, x_label, {}};
  for (size_t i = 0; i < report.arms.size(); ++i) chart.lines.push_back(chart_line(report.arms[i], static_cast<int>(i) % colors, x));
  return chart;
}

std::string charts(Report const& report) {
  double flops = 0, time = 0;
  bool seeds = false;
  for (ArmResult const& arm : report.arms)
    for (RunResult const& run : arm.runs) {
      flops = std::max(flops, static_cast<double>(run.train_flops));
      time = std::max(time, run.time_s);
      seeds |= arm.runs.size() > 1;
    }
  int const exponent = flops > 0 ? static_cast<int>(std::floor(std::log10(flops) / 3)) * 3 : 0;
  double const unit = time > 3 * 3600 ? 3600 : time > 300 ? 60 : 1;
  char const* const unit_name = unit == 3600 ? "h" : unit == 60 ? "min" : "s";
  std::string const loss = "Validation loss, causal routing (nats per token)";
  Chart const by_flops = make_chart(report, loss + " against training FLOPs", "training FLOPs (10" + superscript(exponent) + ")",
                                    [&](ValidationPoint const& p) { return p.train_flops / std::pow(10, exponent); });
  Chart const by_time = make_chart(report, loss + " against training time", fmt::format("training time ({})", unit_name),
                                   [&](ValidationPoint const& p) { return p.time_s / unit; });
  std::string legend;
  for (ChartLine const& line : by_flops.lines)
    legend += fmt::format("<li class=\"c{}\"><svg viewBox=\"0 0 26 10\" aria-hidden=\"true\"><polyline class=\"mean\" points=\"0,5 26,5\"/>{}</svg><span>{}, {}</span></li>",
                          line.color, line.squares ? "<rect class=\"dot\" x=\"9.5\" y=\"1.5\" width=\"7\" height=\"7\"/>" : "<circle class=\"dot\" cx=\"13\" cy=\"5\" r=\"3.6\"/>",
                          escape_html(line.name), line.squares ? "routed" : "dense");
  return fmt::format("<h2>{}</h2><div class=\"charts\"><figure class=\"card\">{}</figure><figure class=\"card\">{}</figure></div>"
                     "<ul class=\"legend\">{}</ul>{}",
                     loss, chart_svg(by_flops), chart_svg(by_time), legend,
                     seeds ? "<p class=\"note\">Thick lines are means over seeds, thin lines single seeds.</p>" : "");
}

// ---- tables ----

class ArmTable {
 public:
  explicit ArmTable(Report const& report) : report_(report) {
    html_ = "<div class=\"scroll\"><table><thead><tr><th></th>";
    for (size_t i = 0; i < report.arms.size(); ++i)
      html_ += fmt::format("<th class=\"c{}\">{}</th>", i % colors, escape_html(report.arms[i].name));
    html_ += "</tr></thead><tbody>";
  }
  void group(char const* title) { html_ += fmt::format("<tr class=\"group\"><th colspan=\"{}\">{}</th></tr>", report_.arms.size() + 1, title); }
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

std::string results(Report const& report) {
  ArmResult const* best = &report.arms.front();
  for (ArmResult const& arm : report.arms)
    if (arm.loss_causal.mean < best->loss_causal.mean) best = &arm;
  auto const si = [](double value) { return std::isfinite(value) ? format_si(value) : std::string("\u2013"); };
  auto const first = [](ArmResult const& arm) -> RunResult const& { return arm.runs.front(); };

  ArmTable table(report);
  table.group("Quality, at the end");
  table.row("Loss, causal routing (nats per token)", [](auto const& a) { return with_spread(a.loss_causal, 4); }, best);
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
    return n ? fmt::format("{} at {:g}\u00a0%", n, 100 * a.config().depth.capacity) : std::string("\u2013");
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
  table.row("Step time, median", [](auto const& a) { return fmt::format("{:.1f} ms", 1e3 * a.step_time_s); });
  table.row("Tokens per second", [&](auto const& a) { return si(a.tokens_per_s); });
  table.row("Training time", [](auto const& a) { return format_seconds(a.time_s); });
  table.row("Peak memory of the process", [](auto const& a) { return format_bytes(static_cast<double>(a.peak_memory_bytes)); });
  table.row("Keys and values per token", [](auto const& a) { return format_bytes(a.kv_bytes_per_token); });
  return "<h2>Results</h2><p class=\"note\">Mean \u00b1 standard deviation over seeds.</p>" + table.done();
}

std::string comparisons(Report const& report) {
  if (report.pairs.empty()) return "";
  std::string rows;
  for (Pair const& pair : report.pairs) {
    PairedDifference const& d = pair.difference;
    std::string const interval = d.half_width ? fmt::format("{} \u2026 {}", signed_number(d.percent - *d.half_width, 2), signed_number(d.percent + *d.half_width, 2)) : "\u2013";
    rows += fmt::format("<tr><td>{} against {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", escape_html(pair.arm), escape_html(pair.baseline),
                        pair.basis == "flops" ? "FLOPs" : "time", d.n ? signed_number(d.percent, 2) : "\u2013", interval, d.n);
  }
  return "<h2>Every pair</h2><p class=\"note\">Difference of the causal loss in per cent, seed by seed; below zero the first arm is better.</p>"
         "<div class=\"scroll\"><table><thead><tr><th>Pair</th><th>At equal</th><th>Difference, %</th><th>95\u00a0% interval</th><th>Seeds</th></tr></thead><tbody>" +
         rows + "</tbody></table></div>";
}

// Mean over seeds of a per-layer list of the last validation.
std::vector<double> layer_means(ArmResult const& arm, std::vector<double> ValidationPoint::*list) {
  std::vector<double> sums;
  for (RunResult const& run : arm.runs) {
    std::vector<double> const& values = run.curve.back().*list;
    if (sums.empty()) sums.resize(values.size(), 0);
    for (size_t i = 0; i < std::min(sums.size(), values.size()); ++i) sums[i] += values[i];
  }
  for (double& sum : sums) sum /= static_cast<double>(arm.runs.size());
  return sums;
}

std::string routing(Report const& report) {
  std::string html;
  auto const percent = [](double value) { return std::isfinite(value) ? fmt::format("{:.1f}\u00a0%", 100 * value) : std::string("\u2013"); };
  for (ArmResult const& arm : report.arms) {
    auto const layers = routed_layers(arm.config().model, arm.config().depth);
    auto const capacity = layer_means(arm, &ValidationPoint::capacity), precision = layer_means(arm, &ValidationPoint::precision),
               recall = layer_means(arm, &ValidationPoint::recall);
    if (layers.empty() || capacity.size() != layers.size()) continue;
    int64_t const T = arm.config().model.context;
    double const ceiling = threshold_f1_ceiling(rows_of_capacity(arm.config().depth.capacity, T), T);
    std::string rows;
    for (size_t i = 0; i < layers.size(); ++i) {
      double const p = i < precision.size() ? precision[i] : NAN, r = i < recall.size() ? recall[i] : NAN;
      double const f1 = p + r > 0 ? 2 * p * r / (p + r) : (std::isfinite(p + r) ? 0 : NAN);
      rows += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", layers[i], percent(capacity[i]), percent(p), percent(r),
                          std::isfinite(f1) ? fmt::format("{:.3f}", f1) : "\u2013");
    }
    html += fmt::format("<h3>{}</h3><p class=\"note\">Planned capacity {:g}\u00a0%; against top-k picks, the best fixed threshold on independent scores would reach an F1 of {:.3f} at {} tokens.</p>"
                        "<div class=\"scroll\"><table><thead><tr><th>Layer (from 0)</th><th>Realised capacity</th><th>Precision</th><th>Recall</th><th>F1</th></tr></thead><tbody>{}</tbody></table></div>",
                        escape_html(arm.name), 100 * arm.config().depth.capacity, ceiling, T, rows);
  }
  return html.empty() ? "" : "<h2>Causal routing, layer by layer</h2>" + html;
}

// ---- text by depth ----

std::string depth_text(Report const& report) {
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
    spans += fmt::format("<span style=\"{}\" title=\"{} of {} blocks{}\">{}</span>", shade(text.depth[i]), text.depth[i], text.layers, loss, escape_html(text.pieces[i]));
  }
  for (int64_t depth = least; depth <= text.layers; ++depth) {
    auto const count = std::count(text.depth.begin(), text.depth.end(), depth);
    legend += fmt::format("<li><i class=\"swatch\" style=\"{}\"></i>{} blocks <span class=\"soft\">{:.0f}\u00a0%</span></li>", shade(depth), depth,
                          100.0 * static_cast<double>(count) / static_cast<double>(text.depth.size()));
  }
  return fmt::format("<h2>Where the compute goes</h2><p class=\"note\">A validation text under causal routing in {}, seed {}: the darker, the more of the {} blocks a token went through. "
                     "Hold the pointer over a token for its loss.</p><ul class=\"legend\">{}</ul><div class=\"text-box\">{}</div>",
                     escape_html(run->arm), run->config.seed, text.layers, legend, spans);
}

// ---- provenance ----

std::string provenance(Report const& report) {
  std::string rows;
  auto const entry = [&](std::string const& key, std::string const& value) {
    rows += "<dt>" + escape_html(key) + "</dt><dd>" + value + "</dd>";
  };
  if (!report.command.empty()) entry("command", "<code>" + escape_html(report.command) + "</code>");
  RunResult const& first = report.arms.front().runs.front();
  for (auto const& [key, value] : first.environment) entry(replace_all(key, "_", " "), escape_html(value));
  std::string seeds;
  for (RunResult const& run : report.arms.front().runs) seeds += (seeds.empty() ? "" : ", ") + std::to_string(run.config.seed);
  entry("seeds", seeds);
  std::string sources;
  for (std::string const& source : first.config.data.sources) sources += (sources.empty() ? "" : ", ") + source;
  entry("text", escape_html(sources));
  entry("tokenizer", escape_html(first.config.tokenizer.kind == "bpe" ? fmt::format("BPE, {} pieces", first.config.tokenizer.vocab_size) : first.config.tokenizer.kind));
  entry("batch", fmt::format("{} tokens in sequences of {}", first.config.train.batch_tokens, first.config.model.context));
  for (ArmResult const& arm : report.arms)
    entry("run of " + arm.name, "<code>" + escape_html(arm.runs.front().command.empty() ? arm.runs.front().folder.string() : arm.runs.front().command) + "</code>");
  return "<h2>How this was made</h2><dl>" + rows + "</dl><p class=\"note\">FLOPs by the ledger: linear maps 2 per weight and row, attention on the causal triangle, backward twice "
         "the forward; routers, predictors and the head counted; norms, activations and evaluation not.</p>";
}

}  // namespace

std::string report_html(Report const& report) {
  std::string body = fmt::format("<h1>{}</h1>", escape_html(report.name));
  if (report.arms.empty()) {
    body += "<p class=\"lead\">No run has finished.</p>" + notes(report);
  } else {
    auto const seeds = report.arms.front().runs.size();
    body += fmt::format("<p class=\"lead\">{} arms, {} seed{}, width {}, context {}; validation loss under the causal routing that generation uses.</p>", report.arms.size(), seeds,
                        seeds == 1 ? "" : "s", report.arms.front().config().model.width, report.arms.front().config().model.context);
    body += verdicts(report) + notes(report) + charts(report) + results(report) + comparisons(report) + depth_text(report) + routing(report) + provenance(report);
  }
  return fmt::format("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                     "<title>{} \u00b7 Isobath</title>\n<style>{}</style>\n</head>\n<body><main>\n{}\n</main></body>\n</html>\n",
                     escape_html(report.name), report_style, body);
}

}  // namespace isobath
