#pragma once
// Text and numbers as the HTML report prints them.

#include <string>
#include <string_view>

#include "trainer/report/statistics.h"

namespace isobath {

// Text for HTML: markup escaped, invalid UTF-8 and control characters made visible, newlines and tabs kept.
std::string escape_html(std::string_view text);

// A sentence, escaped, with typographic signs and no line break between a number and its unit.
std::string prose(std::string const& text);

std::string replace_all(std::string text, std::string const& from, std::string const& to);
std::string signed_number(double value, int digits);   // with a typographic minus
std::string with_spread(Spread const& s, int digits);  // mean +- deviation, the latter in a span.spread
std::string superscript(int number);
std::string scientific(double value);  // 1.500 x 10^12

}  // namespace isobath
