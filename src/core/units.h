#pragma once
// Numbers as people write them: 64Ki, 2Mtok, 500step, 5%, 1.5e12flop.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/int128.h"

namespace isobath {

enum class Unit { step, token, flop, epoch, percent, second };

// A length of training, or a time (second). `percent` is a share of the run's whole budget.
struct Duration {
  double amount = 0;
  Unit unit = Unit::step;
  bool operator==(Duration const&) const = default;
};

// "64Ki" -> 65536 (K, M, G, T are powers of 1000; Ki, Mi, Gi, Ti of 1024; "1e6" and "2.01M" are allowed, for they are whole numbers).
// Worked out in whole numbers: the result is exactly what is written.
// nullopt when the text is no count or does not fit in 63 bits.
std::optional<int64_t> parse_count(std::string_view text);
// "500step", "20Mtok", "3epoch", "2e14flop", "5%". Steps and tokens are whole numbers, exactly as written; the others are the nearest
// double. nullopt for anything else.
std::optional<Duration> parse_duration(std::string_view text);
// The amount, rounded to a whole number. Above 2^53 it is the number that format_duration writes: for 1e24 exactly 10^24, which no double
// equals. nullopt for what does not fit.
std::optional<Int128> whole_amount(Duration const& duration);

std::string format_real(double value);         // shortest text that reads back as this value: 0.003, 1e-5, 1.5e12
std::string format_count(int64_t value);       // exact, parse_count(format_count(v)) == v
std::string format_duration(Duration const&);  // exact, parses back
std::string format_bytes(double bytes);        // for people: "12.3 MiB"
std::string format_si(double value);           // for people: "41.2k", "1.50T"
std::string format_seconds(double seconds);    // for people: "3m12s"

}  // namespace isobath
