#pragma once
// Totals of FLOPs in JSON: a number up to 2^53, above it the decimal digits as text. Readers that take every number for a double
// (JavaScript, jq) would lose digits there.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "core/int128.h"

namespace isobath {

inline nlohmann::ordered_json total_json(Int128 total) {
  constexpr int64_t largest_number = int64_t{1} << 53;
  if (total > largest_number || total < -largest_number) return to_text(total);
  return static_cast<int64_t>(total);
}

// Reads a number or a text of any size: older files have numbers only, and old reports have whole numbers in floating-point form (1.5e+12).
// nullopt for anything else.
template <typename Json>
std::optional<Int128> read_total(Json const& value) {
  if (value.is_string()) return parse_int128(value.template get<std::string>());
  if (value.is_number_unsigned()) return Int128(value.template get<uint64_t>());
  if (value.is_number_integer()) return Int128(value.template get<int64_t>());
  if (!value.is_number_float()) return std::nullopt;
  double const number = value.template get<double>();
  if (!(number > -0x1p63 && number < 0x1p63) || number != static_cast<double>(static_cast<int64_t>(number))) return std::nullopt;
  return Int128(static_cast<int64_t>(number));
}

}  // namespace isobath
