// The text coloured by depth of the HTML report.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "trainer/report/html/markup.h"
#include "trainer/report/html/page.h"

namespace isobath {
namespace {

constexpr size_t most_pieces = 1500;

}  // namespace

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
