#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>

#include "core/random.h"
#include "core/units.h"

using namespace isobath;

TEST_CASE("counts read with their units") {
  CHECK(parse_count("0") == 0);
  CHECK(parse_count("64") == 64);
  CHECK(parse_count("-3") == -3);
  CHECK(parse_count("64Ki") == 65536);
  CHECK(parse_count("1.5Ki") == 1536);
  CHECK(parse_count("2Mi") == 2 << 20);
  CHECK(parse_count("2M") == 2000000);
  CHECK(parse_count("2k") == 2000);
  CHECK(parse_count("1G") == 1000000000);
  CHECK(parse_count("1e6") == 1000000);
  CHECK(parse_count("9223372036854775807") == std::numeric_limits<int64_t>::max());
}

TEST_CASE("what is no count is refused") {
  for (char const* text : {"",     "-",         "--1",  "+1", "010",    "00",   "0x10", "1_000", "1,000", "1.5",
                           "1e-3", "1Kib",      "1 Ki", "Ki", "64KiKi", "1e",   "nan",  "inf",   ".inf",  "9223372036854775808",
                           "1e19", "8388608Ti", "12a",  " 1", "1 ",     "0.1Ki"}) {
    INFO("'" << text << "'");
    CHECK_FALSE(parse_count(text).has_value());
  }
}

TEST_CASE("durations read with their units") {
  CHECK(parse_duration("500step") == Duration{500, Unit::step});
  CHECK(parse_duration("500steps") == Duration{500, Unit::step});
  CHECK(parse_duration("20Mtok") == Duration{20e6, Unit::token});
  CHECK(parse_duration("1Kitok") == Duration{1024, Unit::token});
  CHECK(parse_duration("0.5epoch") == Duration{0.5, Unit::epoch});
  CHECK(parse_duration("1.5e12flop") == Duration{1.5e12, Unit::flop});
  CHECK(parse_duration("2Tflop") == Duration{2e12, Unit::flop});
  CHECK(parse_duration("2.5%") == Duration{2.5, Unit::percent});
}

TEST_CASE("what is no duration is refused") {
  for (char const* text : {"", "500", "step", "-5step", "1.5step", "010step", "5 %", "5%%", "5%s", "1e400flop", "infstep", "5min",
                           "5stepss", "1e30step", "1e308Tiflop"}) {
    INFO("'" << text << "'");
    CHECK_FALSE(parse_duration(text).has_value());
  }
}

TEST_CASE("what is written reads back exactly") {
  for (uint64_t i = 0; i < 2000; ++i) {
    auto const count = static_cast<int64_t>(random_bits(1, i) >> (1 + random_bits(2, i) % 62));
    CHECK(parse_count(format_count(count)) == count);
    CHECK(parse_count(format_count(count << 10 >> 10)) == count << 10 >> 10);
    double const real = random_normal(3, i) * std::pow(10.0, static_cast<double>(random_bits(4, i) % 40) - 20);
    CHECK(std::stod(format_real(real)) == real);
    for (Unit const unit : {Unit::flop, Unit::epoch, Unit::percent}) {
      Duration const duration{std::abs(real), unit};
      CHECK(parse_duration(format_duration(duration)) == duration);
    }
    Duration const steps{static_cast<double>(count >> 12), Unit::step};
    CHECK(parse_duration(format_duration(steps)) == steps);
  }
  CHECK(format_count(65536) == "64Ki");
  CHECK(format_count(2000000) == "2000000");
  CHECK(format_real(1e-5) == "1e-5");
  CHECK(format_real(1e10) == "1e10");
  CHECK(format_real(0.003) == "0.003");
  CHECK(format_duration({1.5e12, Unit::flop}) == "1.5e12flop");
  CHECK(format_duration({100000, Unit::step}) == "100000step");
}

TEST_CASE("sizes, rates and times for people") {
  CHECK(format_bytes(512) == "512 B");
  CHECK(format_bytes(12.3 * 1048576) == "12.3 MiB");
  CHECK(format_bytes(1023.99 * 1024) == "1.0 MiB");
  CHECK(format_si(41234) == "41.2k");
  CHECK(format_si(1.5e12) == "1.50T");
  CHECK(format_si(999.9e3) == "1.00M");
  CHECK(format_si(7) == "7");
  CHECK(format_seconds(192) == "3m12s");
  CHECK(format_seconds(59.7) == "1m00s");
  CHECK(format_seconds(2.25) == "2.2s");
  CHECK(format_seconds(7380) == "2h03m");
  CHECK(format_seconds(std::nan("")) == "?");
}
