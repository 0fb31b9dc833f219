#pragma once
// The sections of the HTML page; report_html (report.h) puts them together.

#include <string>

#include "trainer/report/report.h"

namespace isobath {

constexpr int report_colors = 8;  // classes c0 ... c7 of the style sheet

std::string html_verdicts(Report const& report);
std::string html_charts(Report const& report);
std::string html_results(Report const& report);  // one column per arm
std::string html_pairs(Report const& report);
std::string html_routing(Report const& report);  // per layer; empty without routed arms
std::string html_depth_text(Report const& report);

}  // namespace isobath
