#include "core/int128.h"

#include <catch2/catch_test_macros.hpp>
#include <limits>

#include "core/error.h"
#include "core/random.h"

using namespace isobath;

namespace {

constexpr int64_t largest = std::numeric_limits<int64_t>::max(), least = std::numeric_limits<int64_t>::min();

}  // namespace

TEST_CASE("128 bits agree with 64 where those suffice") {
  for (uint64_t i = 0; i < 1000; ++i) {
    auto const a = static_cast<int64_t>(random_bits(1, i)) >> (33 + i % 30), b = static_cast<int64_t>(random_bits(2, i)) >> (33 + i % 20);
    Int128 const x = a, y = b;
    CHECK(x + y == a + b);
    CHECK(x - y == a - b);
    CHECK(x * y == a * b);
    if (b != 0) CHECK(x / y == a / b);
    CHECK((x < y) == (a < b));
    CHECK((x == y) == (a == b));
    CHECK(to_text(x) == std::to_string(a));
    CHECK(static_cast<int64_t>(x) == a);
    CHECK(static_cast<double>(x) == static_cast<double>(a));
    CHECK(parse_int128(to_text(x * y * 1000000007)) == x * y * 1000000007);
  }
}

TEST_CASE("128 bits count on where 64 end") {
  Int128 total = largest;
  total += 1;
  CHECK(to_text(total) == "9223372036854775808");
  CHECK(to_text(Int128(least) * 2) == "-18446744073709551616");
  CHECK(to_text(Int128(largest) * largest) == "85070591730234615847396907784232501249");
  CHECK(static_cast<double>(total) == 0x1p63);
  CHECK(total > largest);
  total -= 1;
  CHECK(static_cast<int64_t>(total) == largest);
  CHECK(Int128(uint64_t{18446744073709551615u}) == Int128(largest) * 2 + 1);
}

TEST_CASE("what does not fit is refused, not wrapped around") {
  Int128 const big = Int128(largest) * largest;
  CHECK_THROWS_AS(big * 3, Error);
  CHECK_THROWS_AS(big + big + big, Error);
  CHECK_THROWS_AS(Int128() - big - big - big, Error);
  CHECK_THROWS_AS(big / 0, Error);
  CHECK_THROWS_AS(static_cast<int64_t>(big), Error);
}

TEST_CASE("decimal digits alone are a number") {
  CHECK(parse_int128("0") == Int128(0));
  CHECK(parse_int128("1000000000000000000000000") == Int128(1000000000000) * 1000000000000);
  CHECK(parse_int128("-12") == Int128(-12));
  for (char const* text : {"", "-", "1.5", "1e3", " 1", "1 ", "+1", "0x10", "--1", "123456789012345678901234567890123456789"}) {
    INFO("'" << text << "'");
    CHECK_FALSE(parse_int128(text).has_value());
  }
}
