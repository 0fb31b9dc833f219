#include "trainer/run/state.h"

#include <nlohmann/json.hpp>

#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  std::string const written = to_json(state_from_json(std::string(input), "state.json")).dump();
  require(to_json(state_from_json(written, "state.json")).dump() == written, "a written state reads back the same");
}
