#include "trainer/report/html/histogram.h"

#include <fmt/format.h>

#include <algorithm>

#include "trainer/report/html/markup.h"

namespace isobath {
namespace {

constexpr double plot_width = 160, plot_top = 20, plot_bottom = 84, plot_height = 100;

// Outlines all bins in one path, so that no gaps show between neighbours.
std::string steps(std::vector<int64_t> const& bins, double most, char const* style) {
  std::string path = fmt::format("M0 {}", plot_bottom);
  for (size_t i = 0; i < bins.size(); ++i)
    path += fmt::format("V{:.2f}H{:.2f}", plot_bottom - (plot_bottom - plot_top) * static_cast<double>(bins[i]) / most,
                        plot_width * static_cast<double>(i + 1) / static_cast<double>(bins.size()));
  return fmt::format("<path class=\"{}\" d=\"{}V{}Z\"/>", style, path, plot_bottom);
}

std::string end_label(double score, double x, char const* anchor) {
  return fmt::format("<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"{}\">{}</text>", x, plot_height - 2, anchor,
                     prose(fmt::format("{:.3g}", score)));
}

}  // namespace

std::string histogram_svg(ScoreHistogram const& scores, std::string const& title) {
  auto const most = static_cast<double>(std::max<int64_t>(1, *std::max_element(scores.tokens.begin(), scores.tokens.end())));
  std::string const text = escape_html(title);
  return fmt::format("<svg viewBox=\"0 0 {0} {1}\" role=\"img\" aria-label=\"Router scores, {2}\"><text x=\"0\" y=\"12\">{2}</text>",
                     plot_width, plot_height, text) +
         steps(scores.tokens, most, "all") + steps(scores.picked, most, "picked") +
         fmt::format("<line class=\"axis\" x1=\"0\" x2=\"{0}\" y1=\"{1}\" y2=\"{1}\"/>", plot_width, plot_bottom) +
         end_label(scores.low, 0, "start") + end_label(scores.high, plot_width, "end") + "</svg>";
}

}  // namespace isobath
