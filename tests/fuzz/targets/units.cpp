// Counts, durations and totals: what can be read is written so that it reads back the same.
#include "core/units.h"

#include "core/int128.h"
#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  if (auto const count = parse_count(input)) require(parse_count(format_count(*count)) == count, "a count reads back the same");
  if (auto const duration = parse_duration(input)) {
    require(parse_duration(format_duration(*duration)) == duration, "a duration reads back the same");
    whole_amount(*duration);
  }
  if (auto const total = parse_int128(input)) require(parse_int128(to_text(*total)) == total, "a total reads back the same");
}
