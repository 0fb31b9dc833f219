#include "format/total.h"

#include <catch2/catch_test_macros.hpp>

using namespace isobath;
using nlohmann::json;

TEST_CASE("a total is a JSON number up to 2^53 and text above") {
  int64_t const edge = int64_t{1} << 53;
  CHECK(total_json(0).dump() == "0");
  CHECK(total_json(edge).dump() == "9007199254740992");
  CHECK(total_json(Int128(edge) + 1).dump() == "\"9007199254740993\"");
  CHECK(total_json(Int128(edge) * edge).dump() == "\"81129638414606681695789005144064\"");
  CHECK(total_json(-1).dump() == "-1");
}

TEST_CASE("a total is read from numbers of any size and from text") {
  for (Int128 const total : {Int128(0), Int128(-7), Int128(1) * (int64_t{1} << 53), Int128(int64_t{1} << 62) * 1000000007})
    CHECK(read_total(json::parse(total_json(total).dump())) == total);
  CHECK(read_total(json::parse("4611686018427387905")) == Int128((int64_t{1} << 62) + 1));  // as older files have it
  CHECK(read_total(json::parse("18446744073709551615")) == Int128(uint64_t{18446744073709551615u}));
  CHECK(read_total(json::parse("1.5e12")) == Int128(1500000000000));
  for (char const* text : {"\"1.5\"", "\"\"", "\"1e3\"", "1.5", "1e30", "null", "[1]", "true"}) {
    INFO(text);
    CHECK_FALSE(read_total(json::parse(text)).has_value());
  }
}
