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

// 2.01 * 1e6 is 2009999.9999999998 in doubles: amounts with a unit are worked out in whole numbers.
TEST_CASE("decimal amounts with units are exact") {
  CHECK(parse_duration("2.01Mtok") == Duration{2010000, Unit::token});
  CHECK(parse_duration("1.1ksteps") == Duration{1100, Unit::step});
  CHECK(parse_duration("2.01e0Mtok") == Duration{2010000, Unit::token});
  CHECK(parse_duration("0.0000001Gtok") == Duration{100, Unit::token});
  CHECK(parse_duration("1.00100Ktok") == Duration{1001, Unit::token});
  CHECK(parse_duration("2.01Mflop") == Duration{2010000, Unit::flop});
  CHECK(parse_duration("1.001Kepoch") == Duration{1001, Unit::epoch});
  CHECK(parse_count("2.01M") == 2010000);
  CHECK(parse_count("-4.35G") == -4350000000);
  CHECK(parse_count("1152921.504606846975T") == 1152921504606846975);  // 2^60 - 1, which is no double
  CHECK(parse_count("1.1529215046068469750e18") == 1152921504606846975);
  CHECK(parse_count("0.0009765625Ki") == 1);
  CHECK(parse_count("0.0000000000009094947017729282379150390625Ti") == 1);  // 2^-40
  for (int64_t thousandths = 1; thousandths < 20000; ++thousandths) {
    std::string const digits = std::to_string(1000 + thousandths % 1000).substr(1);
    std::string const text = std::to_string(thousandths / 1000) + "." + digits;
    INFO(text);
    REQUIRE(parse_count(text + "k") == thousandths);
    REQUIRE(parse_duration(text + "Gtok") == Duration{static_cast<double>(thousandths * 1000000), Unit::token});
    REQUIRE(parse_count(text + "Ki").has_value() == (thousandths * 1024 % 1000 == 0));
  }
}

TEST_CASE("what is not quite a whole number is refused") {
  for (char const* text : {"0.0000001Mtok", "2.0100001Mtok", "0.3Kitok", "1e-1step", "1.0000000000000000000001step",
                           "1000000.0000000000000000000000000000000000000000000001tok", "9007199254740993step"}) {
    INFO("'" << text << "'");  // the last is 2^53 + 1, which an amount cannot hold
    CHECK_FALSE(parse_duration(text).has_value());
  }
  for (char const* text :
       {"2.0100001M", "0.0000001M", "9.223372036854775808e18", "1.00000000000000000001", "1e-400", "9999999999e9999999999"}) {
    INFO("'" << text << "'");
    CHECK_FALSE(parse_count(text).has_value());
  }
  CHECK(parse_count("9.223372036854775807e18") == std::numeric_limits<int64_t>::max());
  CHECK(parse_count("0e400") == 0);
}

TEST_CASE("the whole amount of a duration is the number that was written") {
  auto const whole = [](char const* text) { return to_text(*whole_amount(*parse_duration(text))); };
  CHECK(whole("1e24flop") == "1000000000000000000000000");  // the double is 16777216 less
  CHECK(whole("123000000Tflop") == "123000000000000000000");
  CHECK(whole("2.01Mflop") == "2010000");
  CHECK(whole("9007199254740993flop") == "9007199254740992");  // 2^53 + 1 is no double
  CHECK(whole("36893488147419103232flop") == "36893488147419103232");
  CHECK(whole("1e37flop") == "10000000000000000000000000000000000000");
  CHECK(whole("0.4flop") == "0");
  CHECK(whole("1.5flop") == "2");
  CHECK_FALSE(whole_amount({1e39, Unit::flop}).has_value());
  CHECK_FALSE(whole_amount({1e300, Unit::flop}).has_value());
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
    for (int const places : {0, 12}) {
      Duration const steps{static_cast<double>(count >> places), Unit::step};
      CHECK(parse_duration(format_duration(steps)) == steps);
    }
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
