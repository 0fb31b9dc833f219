#pragma once
// Small histograms of router scores for the HTML report. No LibTorch.

#include <string>

#include "trainer/report/report.h"

namespace isobath {

// An inline <svg>: all tokens pale, those that top-k picks over them in the colour of the text around it.
std::string histogram_svg(ScoreHistogram const& scores, std::string const& title);

}  // namespace isobath
