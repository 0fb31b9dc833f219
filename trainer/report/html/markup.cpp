#include "trainer/report/html/markup.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>

#include "core/utf8.h"

namespace isobath {

std::string escape_html(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    size_t const length = utf8_length(text);
    char const c = text.front();
    if (length == 0) {
      out += "\ufffd";
    } else if (length > 1) {
      out += text.substr(0, length);
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if (static_cast<uint8_t>(c) < 0x20 && c != '\n' && c != '\t') {
      out += "\xe2\x90";  // U+2400 + c: the symbol for a control character
      out += static_cast<char>(0x80 + c);
    } else {
      out += c;
    }
    text.remove_prefix(std::max<size_t>(1, length));
  }
  return out;
}

std::string replace_all(std::string text, std::string const& from, std::string const& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

std::string prose(std::string const& text) {
  std::string out = replace_all(replace_all(escape_html(text), "+-", "\u00b1"), " %", "\u00a0%");
  for (size_t i = 0; i + 1 < out.size(); ++i)  // a hyphen before a number is a minus
    if (out[i] == '-' && std::isdigit(static_cast<unsigned char>(out[i + 1])) && (i == 0 || out[i - 1] == ' ' || out[i - 1] == '('))
      out.replace(i, 1, "\u2212");
  return out;
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

std::string scientific(double value) {
  if (!(value > 0)) return "0";
  int const exponent = static_cast<int>(std::floor(std::log10(value) + 1e-12));
  return fmt::format("{:.3f} \u00d7 10{}", value / std::pow(10, exponent), superscript(exponent));
}

}  // namespace isobath
