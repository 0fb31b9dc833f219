#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "format/safetensors_folder.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

std::vector<float> const four_values{1, 2, 3, 4};

std::vector<TensorView> three_tensors() {
  std::vector<TensorView> tensors;
  for (char const* name : {"a", "b", "c"}) tensors.push_back({name, "F32", {2, 2}, std::as_bytes(std::span(four_values))});
  return tensors;
}

void expect_damaged_folder(fs::path const& folder, std::string const& words) {
  INFO(words);
  CHECK_THROWS_WITH(SafetensorsFolder(folder), ContainsSubstring(words));
}

}  // namespace

TEST_CASE("safetensors folder: parts hold what the index lists") {
  for (auto const& [limit, parts] : std::vector<std::pair<uint64_t, size_t>>{{1000, 1}, {48, 1}, {47, 2}, {32, 2}, {1, 3}}) {
    INFO(limit);
    Scratch const scratch;
    write_safetensors_folder(scratch.path(), three_tensors(), {{"format", "pt"}}, limit);
    CHECK(fs::exists(scratch / "model.safetensors") == (parts == 1));
    SafetensorsFolder const folder(scratch.path());
    CHECK(folder.files() == parts);
    REQUIRE(folder.tensors().size() == 3);
    for (TensorView const& tensor : folder.tensors()) CHECK(tensor.bytes.size() == 16);
    if (parts == 1) continue;
    auto const index = nlohmann::json::parse(read_file(scratch / "model.safetensors.index.json"));
    CHECK(index["metadata"]["total_size"] == 48);
    CHECK(index["weight_map"]["a"] == (parts == 2 ? "model-00001-of-00002.safetensors" : "model-00001-of-00003.safetensors"));
  }
}

TEST_CASE("safetensors folder: what does not fit together is refused") {
  Scratch const scratch;
  expect_damaged_folder(scratch.path(), "neither model.safetensors nor");
  write_safetensors_folder(scratch.path(), three_tensors(), {}, 32);
  fs::path const path = scratch / "model.safetensors.index.json";
  auto const index = nlohmann::json::parse(read_file(path));
  auto const with = [&](std::string const& tensor, nlohmann::json const& file) {
    nlohmann::json changed = index;
    if (file.is_null())
      changed["weight_map"].erase(tensor);
    else
      changed["weight_map"][tensor] = file;
    scratch.write("model.safetensors.index.json", changed.dump());
  };
  with("b", nullptr);
  expect_damaged_folder(scratch.path(), "'b'");
  with("d", "model-00002-of-00002.safetensors");
  expect_damaged_folder(scratch.path(), "'d'");
  with("b", "model-00002-of-00002.safetensors");
  expect_damaged_folder(scratch.path(), "'b'");
  with("b", "../model-00001-of-00002.safetensors");
  expect_damaged_folder(scratch.path(), "'b'");
  with("b", 3);
  expect_damaged_folder(scratch.path(), "'b'");
  with("b", "absent.safetensors");
  expect_damaged_folder(scratch.path(), "absent.safetensors");
  scratch.write("model.safetensors.index.json", "{}");
  expect_damaged_folder(scratch.path(), "weight_map");
}
