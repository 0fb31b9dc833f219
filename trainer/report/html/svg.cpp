#include "trainer/report/html/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "trainer/report/html/markup.h"

namespace isobath {
namespace {

constexpr double width = 520, height = 340, left = 44, right = 116, top = 14, bottom = 46;
constexpr double label_distance = 15;

struct Scale {
  double low, high, from, to;
  double operator()(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

// The y range: from the lowest point to the highest one after the first 30 % of the x axis, which leaves out the steep start of the curves.
std::pair<double, double> y_range(Chart const& chart, double x_high) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  auto const take = [&](ChartPoints const& points) {
    for (auto const& [x, y] : points) {
      if (!std::isfinite(y)) continue;
      low = std::min(low, y);
      if (x >= 0.3 * x_high || points.size() == 1) high = std::max(high, y);
    }
  };
  for (ChartLine const& line : chart.lines) {
    take(line.mean);
    for (ChartPoints const& seed : line.seeds) take(seed);
  }
  if (!(high > low)) return {low - 0.5, low + 0.5};
  double const room = 0.06 * (high - low);
  return {low - room, high + room};
}

std::string polyline(ChartPoints const& points, Scale const& x, Scale const& y, char const* style) {
  std::string list;
  for (auto const& [px, py] : points)
    if (std::isfinite(py)) list += fmt::format("{}{:.1f},{:.1f}", list.empty() ? "" : " ", x(px), y(py));
  return fmt::format("<polyline class=\"{}\" points=\"{}\"/>", style, list);
}

std::string marker(ChartLine const& line, double px, double py, Scale const& x, Scale const& y) {
  std::string const title = fmt::format("<title>{}: {:.4f}</title>", escape_html(line.name), py);
  if (line.squares)
    return fmt::format("<rect class=\"dot\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"7\" height=\"7\">{}</rect>", x(px) - 3.5, y(py) - 3.5, title);
  return fmt::format("<circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.8\">{}</circle>", x(px), y(py), title);
}

// A tick label with enough digits to differ from its neighbours.
std::string tick_text(double value, double step) {
  int const digits = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  return fmt::format("{:.{}f}", value, digits);
}

std::string axes(Chart const& chart, Scale const& x, Scale const& y) {
  std::string svg;
  auto const y_ticks = nice_ticks(y.low, y.high, 6), x_ticks = nice_ticks(x.low, x.high, 6);
  double const y_step = y_ticks.size() > 1 ? y_ticks[1] - y_ticks[0] : 1, x_step = x_ticks.size() > 1 ? x_ticks[1] - x_ticks[0] : 1;
  for (double tick : y_ticks)
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/><text class=\"tick\" x=\"{3}\" "
        "y=\"{4:.1f}\" "
        "text-anchor=\"end\">{5}</text>",
        left, width - right, y(tick), left - 8, y(tick) + 4, tick_text(tick, y_step));
  for (double tick : x_ticks)
    svg += fmt::format(
        "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/><text class=\"tick\" x=\"{0:.1f}\" "
        "y=\"{3}\" "
        "text-anchor=\"middle\">{4}</text>",
        x(tick), height - bottom, height - bottom + 5, height - bottom + 19, tick_text(tick, x_step));
  svg +=
      fmt::format("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>", left, width - right, height - bottom, height - bottom);
  svg += fmt::format("<text class=\"axis-label\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>", (left + width - right) / 2,
                     height - 6, escape_html(chart.x_label));
  return svg;
}

// Names beside the ends of their lines, moved apart where they would touch.
std::string labels(Chart const& chart, Scale const& x, Scale const& y) {
  struct Label {
    ChartLine const* line;
    double px, py, at;
  };
  std::vector<Label> all;
  for (ChartLine const& line : chart.lines)
    if (!line.mean.empty() && std::isfinite(line.mean.back().second)) {
      double const py = y(line.mean.back().second);
      all.push_back({&line, x(line.mean.back().first), py, py});
    }
  std::sort(all.begin(), all.end(), [](Label const& a, Label const& b) { return a.py < b.py; });
  for (size_t i = 1; i < all.size(); ++i) all[i].at = std::max(all[i].at, all[i - 1].at + label_distance);
  double limit = height - bottom;
  for (size_t i = all.size(); i-- > 0; limit = all[i].at - label_distance) all[i].at = std::min(all[i].at, limit);
  std::string svg;
  for (Label const& label : all) {
    double const text_x = width - right + 16;
    svg += fmt::format("<path class=\"leader\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>", label.px + 6, label.py, text_x - 4, label.at);
    std::string name = label.line->name;
    if (name.size() > 13) name = name.substr(0, 12) + "\u2026";
    svg += fmt::format("<text class=\"label c{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", label.line->color, text_x, label.at + 4,
                       escape_html(name));
  }
  return svg;
}

}  // namespace

std::vector<double> nice_ticks(double low, double high, int about) {
  std::vector<double> ticks;
  if (!(high > low)) return ticks;
  double const raw = (high - low) / about, power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (double candidate : {1.0, 2.0, 5.0})
    if (candidate * power >= raw) {
      step = candidate * power;
      break;
    }
  for (auto i = static_cast<int64_t>(std::ceil(low / step - 1e-9)); static_cast<double>(i) * step <= high + 1e-9 * step; ++i)
    ticks.push_back(static_cast<double>(i) * step);
  return ticks;
}

std::string chart_svg(Chart const& chart) {
  double x_high = 0;
  for (ChartLine const& line : chart.lines) {
    for (auto const& point : line.mean) x_high = std::max(x_high, point.first);
    for (ChartPoints const& seed : line.seeds)
      for (auto const& point : seed) x_high = std::max(x_high, point.first);
  }
  if (!(x_high > 0)) x_high = 1;
  auto const [y_low, y_high] = y_range(chart, x_high);
  Scale const x{0, x_high, left, width - right}, y{y_low, y_high, height - bottom, top};

  // Every chart has its own clip path, so that it also works outside the page.
  std::string const id = fmt::format("clip{:x}", std::hash<std::string>{}(chart.title));
  std::string svg = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", width, height, escape_html(chart.title));
  svg += fmt::format("<clipPath id=\"{}\"><rect x=\"{}\" y=\"0\" width=\"{}\" height=\"{}\"/></clipPath>", id, left - 6,
                     width - left - right + 12, height - bottom);
  svg += axes(chart, x, y) + fmt::format("<g clip-path=\"url(#{})\">", id);
  for (ChartLine const& line : chart.lines) {
    svg += fmt::format("<g class=\"line c{}\">", line.color);
    if (line.seeds.size() > 1)
      for (ChartPoints const& seed : line.seeds) svg += polyline(seed, x, y, "seed");
    svg += polyline(line.mean, x, y, "mean");
    for (auto const& [px, py] : line.mean)
      if (std::isfinite(py)) svg += marker(line, px, py, x, y);
    svg += "</g>";
  }
  return svg + "</g>" + labels(chart, x, y) + "</svg>";
}

}  // namespace isobath
