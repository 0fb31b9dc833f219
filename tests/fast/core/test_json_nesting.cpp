#include <catch2/catch_test_macros.hpp>
#include <string>

#include "core/json_nesting.h"

using namespace isobath;

TEST_CASE("nesting of JSON: brackets outside of texts count") {
  std::string const open(deepest_json, '['), close(deepest_json, ']');
  CHECK_FALSE(nests_too_deep(""));
  CHECK_FALSE(nests_too_deep(open + close));
  CHECK(nests_too_deep("[" + open + close + "]"));
  CHECK(nests_too_deep("{\"a\": " + open));
  CHECK_FALSE(nests_too_deep("[\"[" + open + "\\\"" + open + "\"]"));
  std::string flat;
  for (int i = 0; i < 2 * deepest_json; ++i) flat += "[{}],";
  CHECK_FALSE(nests_too_deep(flat));
}
