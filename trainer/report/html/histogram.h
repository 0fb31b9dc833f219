#pragma once
// Small histograms of router scores for the HTML report. Uses no LibTorch.

#include <string>

#include "trainer/report/report.h"

namespace isobath {

// An inline <svg>: all tokens in a pale colour, over them those that top-k picks, in the colour of the surrounding text.
std::string histogram_svg(ScoreHistogram const& scores, std::string const& title);

}  // namespace isobath
