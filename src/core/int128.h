#pragma once
// Whole numbers of 128 bits. A run's FLOPs are counted in them: one H100 passes 2^63 within hours.

#include <compare>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace isobath {

// Arithmetic that would overflow, and division by zero, throw Error(other). Conversion from any built-in whole number is implicit, back and
// to double it is explicit.
class Int128 {
 public:
  constexpr Int128() = default;
  template <std::integral Integer>
  constexpr Int128(Integer value) : value_(value) {}

  // Throws Error(other) for a value that does not fit.
  explicit operator int64_t() const;
  explicit operator double() const { return static_cast<double>(value_); }

  friend Int128 operator+(Int128 a, Int128 b);
  friend Int128 operator-(Int128 a, Int128 b);
  friend Int128 operator*(Int128 a, Int128 b);
  friend Int128 operator/(Int128 a, Int128 b);  // towards zero
  Int128& operator+=(Int128 other) { return *this = *this + other; }
  Int128& operator-=(Int128 other) { return *this = *this - other; }
  friend constexpr bool operator==(Int128 a, Int128 b) { return a.value_ == b.value_; }
  friend constexpr std::strong_ordering operator<=>(Int128 a, Int128 b) {
    return a.value_ < b.value_   ? std::strong_ordering::less
           : a.value_ > b.value_ ? std::strong_ordering::greater
                                 : std::strong_ordering::equal;
  }

 private:
  __int128 value_ = 0;
};

std::string to_text(Int128 value);                          // decimal digits, all of them
std::optional<Int128> parse_int128(std::string_view text);  // such digits, with a minus sign perhaps; nullopt for anything else

}  // namespace isobath
