#include "core/int128.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace isobath {

namespace {

[[noreturn]] void refuse(Int128 a, char const* operation, Int128 b) {
  throw Error(ExitCode::other, "[int128] " + to_text(a) + operation + to_text(b) + " is no whole number of 128 bits");
}

}  // namespace

Int128::operator int64_t() const {
  if (value_ < std::numeric_limits<int64_t>::min() || value_ > std::numeric_limits<int64_t>::max())
    throw Error(ExitCode::other, "[int128] " + to_text(*this) + " does not fit in 64 bits");
  return static_cast<int64_t>(value_);
}

Int128 operator+(Int128 a, Int128 b) {
  Int128 result;
  if (__builtin_add_overflow(a.value_, b.value_, &result.value_)) refuse(a, " + ", b);
  return result;
}

Int128 operator-(Int128 a, Int128 b) {
  Int128 result;
  if (__builtin_sub_overflow(a.value_, b.value_, &result.value_)) refuse(a, " - ", b);
  return result;
}

Int128 operator*(Int128 a, Int128 b) {
  Int128 result;
  if (__builtin_mul_overflow(a.value_, b.value_, &result.value_)) refuse(a, " * ", b);
  return result;
}

Int128 operator/(Int128 a, Int128 b) {
  Int128 result;
  // The least number has no positive counterpart.
  bool const overflows = b.value_ == -1 && __builtin_sub_overflow(__int128{0}, a.value_, &result.value_);
  if (b.value_ == 0 || overflows) refuse(a, " / ", b);
  result.value_ = a.value_ / b.value_;
  return result;
}

std::string to_text(Int128 value) {
  std::string digits;
  Int128 rest = value;
  do {
    auto const last = static_cast<int64_t>(rest - rest / 10 * 10);  // negative of a negative number
    digits += static_cast<char>('0' + (last < 0 ? -last : last));
    rest = rest / 10;
  } while (rest != 0);
  if (value < 0) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::optional<Int128> parse_int128(std::string_view text) {
  bool const negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  // 38 digits always fit: the largest number is 1.7e38.
  if (text.empty() || text.size() > 38 || text.find_first_not_of("0123456789") != std::string_view::npos) return {};
  Int128 value;
  for (char const digit : text) value = value * 10 + (digit - '0');
  return negative ? Int128() - value : value;
}

}  // namespace isobath
