#include "core/units.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <system_error>

namespace isobath {
namespace {

struct Prefix {
  std::string_view text;
  double factor;
};

// Longer ones first: "Ki" must not be read as "K" and a rest.
constexpr std::array<Prefix, 9> prefixes{{{"Ki", 1024.0},
                                          {"Mi", 1048576.0},
                                          {"Gi", 1073741824.0},
                                          {"Ti", 1099511627776.0},
                                          {"K", 1e3},
                                          {"k", 1e3},
                                          {"M", 1e6},
                                          {"G", 1e9},
                                          {"T", 1e12}}};

struct UnitName {
  std::string_view text;
  Unit unit;
};

constexpr std::array<UnitName, 5> unit_names{
    {{"step", Unit::step}, {"tok", Unit::token}, {"flop", Unit::flop}, {"epoch", Unit::epoch}, {"%", Unit::percent}}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// A plain decimal number at the front of `text`, which is advanced past it. No sign, no hex, no octal look (010), no
// inf or nan.
std::optional<double> take_number(std::string_view& text) {
  if (text.empty() || !(is_digit(text[0]) || (text[0] == '.' && text.size() > 1 && is_digit(text[1])))) return {};
  if (text.size() > 1 && text[0] == '0' && is_digit(text[1])) return {};
  double value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !std::isfinite(value)) return {};
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

double take_prefix(std::string_view& text) {
  for (Prefix const& prefix : prefixes) {
    if (text.starts_with(prefix.text)) {
      text.remove_prefix(prefix.text.size());
      return prefix.factor;
    }
  }
  return 1;
}

constexpr double two_to_63 = 9223372036854775808.0;

}  // namespace

std::optional<int64_t> parse_count(std::string_view text) {
  bool const negative = !text.empty() && text[0] == '-';
  if (negative) text.remove_prefix(1);
  // Plain digits go through integers, so that every 63-bit value is exact.
  int64_t whole = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  bool const leading_zero = text.size() > 1 && text[0] == '0' && is_digit(text[1]);
  if (error == std::errc() && end == text.data() + text.size() && !leading_zero && is_digit(text[0])) {
    return negative ? -whole : whole;
  }
  std::optional<double> number = take_number(text);
  if (!number) return {};
  double const value = *number * take_prefix(text);
  if (!text.empty() || value != std::floor(value) || value >= two_to_63) return {};
  return negative ? -static_cast<int64_t>(value) : static_cast<int64_t>(value);
}

std::optional<Duration> parse_duration(std::string_view text) {
  std::optional<double> number = take_number(text);
  if (!number) return {};
  double const amount = *number * take_prefix(text);
  if (!std::isfinite(amount)) return {};
  for (UnitName const& name : unit_names) {
    bool const plural =
        text.size() == name.text.size() + 1 && text.back() == 's' && text.starts_with(name.text) && name.unit != Unit::percent;
    if (text != name.text && !plural) continue;
    bool const countable = name.unit == Unit::step || name.unit == Unit::token;
    if (countable && (amount != std::floor(amount) || amount >= two_to_63)) return {};
    return Duration{amount, name.unit};
  }
  return {};
}

std::string format_real(double value) {
  std::array<char, 64> buffer;
  auto const result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  std::string text(buffer.data(), result.ptr);
  // 1e-05 and 1.5e+12 as people write them: 1e-5, 1.5e12.
  size_t const e = text.find('e');
  if (e == std::string::npos) return text;
  size_t const digits = std::min(text.find_first_not_of("+-0", e + 1), text.size() - 1);
  return text.substr(0, e + 1) + (text[e + 1] == '-' ? "-" : "") + text.substr(digits);
}

std::string format_count(int64_t value) {
  if (value != 0) {
    for (auto const& [suffix, shift] : {std::pair{"Ti", 40}, std::pair{"Gi", 30}, std::pair{"Mi", 20}, std::pair{"Ki", 10}}) {
      int64_t const unit = int64_t{1} << shift;
      // A round decimal (2000000) stays as it is; 64Ki is shorter than 65536.
      if (value % unit == 0) return std::to_string(value / unit) + suffix;
    }
  }
  return std::to_string(value);
}

std::string format_duration(Duration const& duration) {
  for (UnitName const& name : unit_names) {
    if (name.unit == duration.unit) {
      // Whole amounts of steps and tokens read better in digits: 100000step, not 1e5step.
      bool const digits = duration.unit != Unit::flop && duration.amount < 1e15 && duration.amount == std::floor(duration.amount);
      std::string const amount = digits ? std::to_string(static_cast<int64_t>(duration.amount)) : format_real(duration.amount);
      return amount + std::string(name.text);
    }
  }
  return {};
}

std::string format_bytes(double bytes) {
  constexpr std::array<char const*, 5> names{"B", "KiB", "MiB", "GiB", "TiB"};
  size_t index = 0;
  while (std::abs(bytes) >= 1023.95 && index + 1 < names.size()) {
    bytes /= 1024;
    ++index;
  }
  std::array<char, 48> buffer;
  std::snprintf(buffer.data(), buffer.size(), index == 0 ? "%.0f %s" : "%.1f %s", bytes, names[index]);
  return buffer.data();
}

std::string format_si(double value) {
  constexpr std::array<char const*, 7> names{"", "k", "M", "G", "T", "P", "E"};
  size_t index = 0;
  double magnitude = std::abs(value);
  while (magnitude >= 999.5 && index + 1 < names.size()) {
    magnitude /= 1000;
    ++index;
  }
  bool const plain = index == 0 && magnitude == std::floor(magnitude);
  char const* const format = plain || magnitude >= 99.95 ? "%s%.0f%s" : magnitude >= 9.995 ? "%s%.1f%s" : "%s%.2f%s";
  std::array<char, 48> buffer;
  std::snprintf(buffer.data(), buffer.size(), format, value < 0 ? "-" : "", magnitude, names[index]);
  return buffer.data();
}

std::string format_seconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  std::array<char, 48> buffer;
  if (seconds < 9.95) {
    std::snprintf(buffer.data(), buffer.size(), "%.1fs", seconds);
    return buffer.data();
  }
  auto const whole = static_cast<long long>(std::llround(seconds));
  if (whole < 60) {
    std::snprintf(buffer.data(), buffer.size(), "%llds", whole);
  } else if (whole < 3600) {
    std::snprintf(buffer.data(), buffer.size(), "%lldm%02llds", whole / 60, whole % 60);
  } else if (whole < 86400) {
    std::snprintf(buffer.data(), buffer.size(), "%lldh%02lldm", whole / 3600, whole % 3600 / 60);
  } else {
    std::snprintf(buffer.data(), buffer.size(), "%lldd%02lldh", whole / 86400, whole % 86400 / 3600);
  }
  return buffer.data();
}

}  // namespace isobath
