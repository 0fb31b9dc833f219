// Verdicts and curves of the HTML report.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "trainer/report/html/markup.h"
#include "trainer/report/html/page.h"
#include "trainer/report/html/svg.h"

namespace isobath {
namespace {

std::string verdict_card(std::string const& title, Pair const& pair, std::string const& arm, std::string const& note) {
  PairedDifference const& d = pair.difference;
  char const* tone = !d.significant() ? "even" : d.percent < 0 ? "better" : "worse";
  std::string const text = pair.verdict.substr(0, pair.verdict.size() - pair.hint.size());
  std::string hint = pair.hint.empty() ? "" : pair.hint.substr(2) + ". ";
  if (!hint.empty()) hint.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(hint.front())));
  return fmt::format("<div class=\"card\"><h3>{}</h3><p class=\"verdict {}\">{}: {}</p><p class=\"note\">{}{}</p></div>", title, tone,
                     escape_html(arm), prose(text), hint, prose(note));
}

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
  for (size_t i = 0; i < report.arms.size(); ++i) chart.lines.push_back(chart_line(report.arms[i], static_cast<int>(i) % report_colors, x));
  return chart;
}

}  // namespace

std::string html_verdicts(Report const& report) {
  Pair const* flops = report.pair(report.challenger, report.best_dense, "flops");
  if (!flops) return "<p class=\"verdict even\">" + prose(report.headline) + "</p>";
  ArmResult const& arm = *report.arm(report.challenger);
  ArmResult const& other = *report.arm(report.best_dense);
  std::string const role = other.dense() && !arm.dense() ? "the best dense arm" : "the baseline";
  std::string note = fmt::format("Causal loss {:.4f} against {:.4f} of {}, {}, after {} training FLOPs each.", flops->arm_loss,
                                 flops->baseline_loss, other.name, role, scientific(static_cast<double>(other.train_flops)));
  if (flops->difference.half_width) note += " The interval is the 95 % t-interval of the paired differences over seeds.";
  std::string cards = verdict_card("At equal training FLOPs", *flops, report.challenger, note);
  if (Pair const* time = report.pair(report.challenger, report.best_dense, "time"))
    cards += verdict_card("At equal measured time", *time, report.challenger, "This is " + time->note + ".");
  return "<div class=\"cards\">" + cards + "</div>";
}

std::string html_charts(Report const& report) {
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
                                    [&](ValidationPoint const& p) { return static_cast<double>(p.train_flops) / std::pow(10, exponent); });
  Chart const by_time = make_chart(report, loss + " against training time", fmt::format("training time ({})", unit_name),
                                   [&](ValidationPoint const& p) { return p.time_s / unit; });
  std::string legend;
  for (ChartLine const& line : by_flops.lines)
    legend += fmt::format(
        "<li class=\"c{}\"><svg viewBox=\"0 0 26 10\" aria-hidden=\"true\"><polyline class=\"mean\" points=\"0,5 "
        "26,5\"/>{}</svg><span>{}: {}</span></li>",
        line.color,
        line.squares ? "<rect class=\"dot\" x=\"9.5\" y=\"1.5\" width=\"7\" height=\"7\"/>"
                     : "<circle class=\"dot\" cx=\"13\" cy=\"5\" r=\"3.6\"/>",
        escape_html(line.name), describe_model(report.arm(line.name)->config()));
  return fmt::format(
      "<h2>{}</h2><div class=\"charts\"><figure class=\"card\">{}</figure><figure class=\"card\">{}</figure></div>"
      "<ul class=\"legend\">{}</ul>{}",
      loss, chart_svg(by_flops), chart_svg(by_time), legend,
      seeds ? "<p class=\"note\">Thick lines are means over seeds, thin lines single seeds.</p>" : "");
}

}  // namespace isobath
