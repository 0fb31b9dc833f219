#pragma once
// Line charts and text for the HTML report. Uses no LibTorch.

#include <string>
#include <utility>
#include <vector>

namespace isobath {

using ChartPoints = std::vector<std::pair<double, double>>;  // ascending x

struct ChartLine {
  std::string name;
  int color = 0;         // class "c0", "c1", ...: the page's style gives it a colour for light and dark
  bool squares = false;  // markers: squares instead of circles
  ChartPoints mean;
  std::vector<ChartPoints> seeds;
};

struct Chart {
  std::string title;    // for screen readers too
  std::string x_label;  // with its unit
  std::vector<ChartLine> lines;
};

// An inline <svg>. The y axis leaves out the steep start of the curves, so that their ends can be told apart.
std::string chart_svg(Chart const& chart);

// Steps of 1, 2 or 5 times a power of ten inside [low, high].
std::vector<double> nice_ticks(double low, double high, int about);

}  // namespace isobath
