#include "core/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>

namespace isobath {
namespace {

// What a prefix multiplies by: 2^twos * 5^fives.
struct Prefix {
  std::string_view text;
  int twos, fives;
};

// Longer ones first: "Ki" must not be read as "K" and a rest.
constexpr std::array<Prefix, 9> prefixes{
    {{"Ki", 10, 0}, {"Mi", 20, 0}, {"Gi", 30, 0}, {"Ti", 40, 0}, {"K", 3, 3}, {"k", 3, 3}, {"M", 6, 6}, {"G", 9, 9}, {"T", 12, 12}}};

struct UnitName {
  std::string_view text;
  Unit unit;
};

constexpr std::array<UnitName, 6> unit_names{
    {{"step", Unit::step}, {"tok", Unit::token}, {"flop", Unit::flop}, {"epoch", Unit::epoch}, {"%", Unit::percent}, {"s", Unit::second}}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

using Whole = unsigned __int128;

// A decimal number as it is written, with its prefix: digits * 10^exponent * 2^twos * 5^fives. `digits` has no leading and no trailing
// zeros, and is empty for zero.
struct Decimal {
  std::string digits;
  int exponent = 0;
  int twos = 0, fives = 0;
};

// A plain decimal number and its prefix at the front of `text`, which is advanced past them. No sign, no hex, no octal look (010), no inf
// or nan, and nothing that doubles cannot hold.
std::optional<Decimal> take_decimal(std::string_view& text) {
  if (text.empty() || !(is_digit(text[0]) || (text[0] == '.' && text.size() > 1 && is_digit(text[1])))) return {};
  if (text.size() > 1 && text[0] == '0' && is_digit(text[1])) return {};
  double approximate = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), approximate);
  std::string_view written = text.substr(0, static_cast<size_t>(end - text.data()));
  // Zero is in range whatever its exponent.
  bool const is_zero = written.substr(0, written.find_first_of("eE")).find_first_of("123456789") == std::string_view::npos;
  if (error != std::errc() && !is_zero) return {};
  text.remove_prefix(written.size());

  Decimal decimal;
  if (size_t const e = written.find_first_of("eE"); e != std::string_view::npos && !is_zero) {
    size_t const first = written[e + 1] == '+' ? e + 2 : e + 1;
    if (std::from_chars(written.data() + first, written.data() + written.size(), decimal.exponent).ec != std::errc()) return {};
  }
  written = written.substr(0, written.find_first_of("eE"));
  if (size_t const point = written.find('.'); point != std::string_view::npos)
    decimal.exponent -= static_cast<int>(written.size() - point - 1);
  for (char const c : written)
    if (is_digit(c) && !(decimal.digits.empty() && c == '0')) decimal.digits += c;
  for (; decimal.digits.ends_with('0'); ++decimal.exponent) decimal.digits.pop_back();

  for (Prefix const& prefix : prefixes) {
    if (!text.starts_with(prefix.text)) continue;
    text.remove_prefix(prefix.text.size());
    decimal.twos = prefix.twos;
    decimal.fives = prefix.fives;
    break;
  }
  return decimal;
}

// value * factor^power, where that is a whole number that fits.
std::optional<Whole> times_power(Whole value, unsigned factor, int power) {
  for (; power < 0; ++power) {
    if (value % factor != 0) return {};
    value /= factor;
  }
  for (; power > 0; --power)
    if (__builtin_mul_overflow(value, Whole{factor}, &value)) return {};
  return value;
}

// Exactly what is written, where that is a whole number that fits.
std::optional<Whole> whole_value(Decimal const& decimal) {
  Whole value = 0;
  for (char const digit : decimal.digits) {
    auto const units = static_cast<Whole>(digit - '0');
    if (__builtin_mul_overflow(value, Whole{10}, &value) || __builtin_add_overflow(value, units, &value)) return {};
  }
  if (value == 0) return value;
  // 10^exponent is 2^exponent * 5^exponent. Divisions come first, so that nothing overflows on the way to a value that fits.
  int const twos = decimal.exponent + decimal.twos, fives = decimal.exponent + decimal.fives;
  std::optional<Whole> const divided = times_power(value, 5, std::min(fives, 0));
  if (!divided) return {};
  std::optional<Whole> const halved = times_power(*divided, 2, twos);
  return halved ? times_power(*halved, 5, std::max(fives, 0)) : std::nullopt;
}

// The double nearest to what is written; nothing where that is infinite.
std::optional<double> real_value(Decimal const& decimal) {
  if (decimal.digits.empty()) return 0;
  std::string const text = decimal.digits + "e" + std::to_string(decimal.exponent + decimal.fives);
  double value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) return {};
  value = std::ldexp(value, decimal.twos - decimal.fives);
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<int64_t> parse_count(std::string_view text) {
  bool const negative = !text.empty() && text[0] == '-';
  if (negative) text.remove_prefix(1);
  std::optional<Decimal> const decimal = take_decimal(text);
  if (!decimal || !text.empty()) return {};
  std::optional<Whole> const value = whole_value(*decimal);
  if (!value || *value > static_cast<Whole>(std::numeric_limits<int64_t>::max())) return {};
  return negative ? -static_cast<int64_t>(*value) : static_cast<int64_t>(*value);
}

std::optional<Duration> parse_duration(std::string_view text) {
  std::optional<Decimal> const decimal = take_decimal(text);
  if (!decimal) return {};
  std::optional<double> const amount = real_value(*decimal);
  if (!amount) return {};
  for (UnitName const& name : unit_names) {
    bool const plural = text.size() == name.text.size() + 1 && text.back() == 's' && text.starts_with(name.text) && name.text.size() > 1;
    if (text != name.text && !plural) continue;
    if (name.unit == Unit::step || name.unit == Unit::token) {
      std::optional<Whole> const whole = whole_value(*decimal);
      // Above 2^53 not every whole number is a double, so that the amount would be another than the one written.
      if (!whole || *whole > static_cast<Whole>(std::numeric_limits<int64_t>::max()) || static_cast<Whole>(*amount) != *whole) return {};
    }
    return Duration{*amount, name.unit};
  }
  return {};
}

std::optional<Int128> whole_amount(Duration const& duration) {
  if (!(duration.amount >= 0x1p53)) return Int128(std::llround(duration.amount));
  std::string const written = format_real(duration.amount);
  std::string_view text = written;
  std::optional<Decimal> const decimal = take_decimal(text);
  std::optional<Whole> const whole = decimal ? whole_value(*decimal) : std::nullopt;
  constexpr Whole half = Whole{1} << 63;
  // In two halves, for an Int128 is made from built-in numbers of 64 bits.
  if (!whole || *whole / half >= half) return {};
  return Int128(static_cast<int64_t>(*whole / half)) * static_cast<uint64_t>(half) + static_cast<int64_t>(*whole % half);
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
      // Whole amounts of steps and tokens read better in digits: 100000step, not 1e5step. All are written in digits, because parse_duration
      // takes the text exactly, and above 2^53 the shortest text of a double is another whole number.
      bool const counted = duration.unit == Unit::step || duration.unit == Unit::token;
      bool const digits =
          duration.unit != Unit::flop && duration.amount < (counted ? 0x1p63 : 1e15) && duration.amount == std::floor(duration.amount);
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
  return fmt::format("{:.{}f} {}", bytes, index == 0 ? 0 : 1, names[index]);
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
  int const decimals = plain || magnitude >= 99.95 ? 0 : magnitude >= 9.995 ? 1 : 2;
  return fmt::format("{}{:.{}f}{}", value < 0 ? "-" : "", magnitude, decimals, names[index]);
}

std::string format_seconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  long long const whole = std::llround(seconds);
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
  return fmt::format("{}d{:02}h", whole / 86400, whole % 86400 / 3600);
}

}  // namespace isobath
