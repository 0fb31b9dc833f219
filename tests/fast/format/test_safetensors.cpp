#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstring>

#include "core/error.h"
#include "format/safetensors.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

template <typename T>
TensorView view(std::string const& name, std::string const& dtype, std::vector<int64_t> const& shape, std::vector<T> const& values) {
  return {name, dtype, shape, std::as_bytes(std::span(values))};
}

// A file made by hand.
fs::path raw(Scratch const& scratch, std::string const& header, std::string const& data, int64_t claimed = -1) {
  uint64_t const length = claimed < 0 ? header.size() : static_cast<uint64_t>(claimed);
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return scratch.write("raw.safetensors", bytes + header + data);
}

void expect_damage(fs::path const& path, std::string const& words) {
  INFO(words);
  try {
    SafetensorsFile const file(path);
    FAIL("was read");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::checkpoint);
    CHECK_THAT(error.what(), ContainsSubstring(words) && ContainsSubstring(path.filename().string()));
  }
}

}  // namespace

TEST_CASE("safetensors: tensors and metadata come back, in order, aligned") {
  Scratch const scratch;
  std::vector<uint8_t> const odd{1, 2, 3};
  std::vector<float> const floats{1.5f, -2.f, 0.f, 4.f, 5.f, 6.f};
  std::vector<int64_t> const scalar{-7};
  Metadata const metadata{{"format", "pt"}, {"quote", "a \"b\"\n\xc3\xa9"}};
  write_safetensors(scratch / "t",
                    {view("odd", "U8", {3}, odd), view("b.weight", "F32", {2, 3}, floats), view("step", "I64", {}, scalar),
                     view("none", "F32", {0, 4}, std::vector<float>{})},
                    metadata);
  SafetensorsFile const file(scratch / "t");
  REQUIRE(file.tensors().size() == 4);
  CHECK(file.tensors()[0].name == "odd");
  CHECK(file.tensors()[3].shape == std::vector<int64_t>{0, 4});
  CHECK(file.metadata() == metadata);
  TensorView const* weight = file.find("b.weight");
  REQUIRE(weight);
  CHECK(weight->dtype == "F32");
  CHECK(weight->shape == std::vector<int64_t>{2, 3});
  REQUIRE(weight->bytes.size() == 24);
  CHECK(std::memcmp(weight->bytes.data(), floats.data(), 24) == 0);
  CHECK(reinterpret_cast<uintptr_t>(weight->bytes.data()) % alignof(float) == 0);
  CHECK(reinterpret_cast<uintptr_t>(file.find("step")->bytes.data()) % 64 == 0);  // the widest type opens the data
  CHECK(std::memcmp(file.find("odd")->bytes.data(), odd.data(), 3) == 0);
  CHECK(file.find("absent") == nullptr);
}

TEST_CASE("safetensors: an empty list of tensors is a valid file") {
  Scratch const scratch;
  write_safetensors(scratch / "t", {}, {});
  CHECK(SafetensorsFile(scratch / "t").tensors().empty());
}

TEST_CASE("safetensors: writing refuses what nobody could read") {
  Scratch const scratch;
  std::vector<float> const two{1, 2};
  CHECK_THROWS_WITH(write_safetensors(scratch / "t", {view("a", "F32", {3}, two)}, {}),
                    ContainsSubstring("'a'") && ContainsSubstring("[3]"));
  CHECK_THROWS_WITH(write_safetensors(scratch / "t", {view("a", "F31", {2}, two)}, {}), ContainsSubstring("F31"));
  CHECK_THROWS_WITH(write_safetensors(scratch / "t", {view("a", "F32", {2}, two), view("a", "F32", {2}, two)}, {}),
                    ContainsSubstring("two"));
  CHECK_FALSE(fs::exists(scratch / "t"));
}

TEST_CASE("safetensors: a file cut anywhere is refused") {
  Scratch const scratch;
  std::vector<float> const values{1, 2, 3};
  write_safetensors(scratch / "t", {view("a", "F32", {3}, values)}, {});
  std::string const whole = read_file(scratch / "t");
  for (size_t size = 0; size < whole.size(); ++size) {
    scratch.write("cut", whole.substr(0, size));
    CHECK_THROWS_AS(SafetensorsFile(scratch / "cut"), Error);
  }
  scratch.write("cut", whole + "x");
  expect_damage(scratch / "cut", "cover 12 of 13");
  CHECK_THROWS_AS(SafetensorsFile(scratch / "absent"), Error);
}

TEST_CASE("safetensors: every kind of bad header says what is wrong") {
  Scratch const scratch;
  auto const entry = [](std::string const& dtype, std::string const& shape, std::string const& offsets) {
    return R"("a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
  };
  std::string const good = entry("F32", "[1]", "[0,4]");
  CHECK_NOTHROW(SafetensorsFile(raw(scratch, "{" + good + "}", "1234")));
  expect_damage(raw(scratch, "{" + good + "}", "1234", 1 << 20), "claims");
  expect_damage(raw(scratch, "{" + good, "1234"), "JSON");
  expect_damage(raw(scratch, "[1]", ""), "JSON object");
  expect_damage(raw(scratch, "{" + good + "," + good + "}", "1234"), "twice");
  expect_damage(raw(scratch, "{" + entry("F33", "[1]", "[0,4]") + "}", "1234"), "F33");
  expect_damage(raw(scratch, "{" + entry("F32", "[-1]", "[0,4]") + "}", "1234"), "shape");
  expect_damage(raw(scratch, "{" + entry("F32", "[2]", "[0,4]") + "}", "1234"), "4 bytes");
  expect_damage(raw(scratch, "{" + entry("F32", "[4611686018427387905]", "[0,4]") + "}", "1234"), "4 bytes");  // overflows to 4
  expect_damage(raw(scratch, "{" + entry("F32", "[1]", "[4,8]") + "}", "1234"), "cut short");
  expect_damage(raw(scratch, "{" + entry("F32", "[1]", "[4,0]") + "}", "1234"), "ends at");
  expect_damage(raw(scratch, "{" + entry("F32", "[1]", "[0]") + "}", "1234"), "data_offsets");
  expect_damage(raw(scratch, "{" + entry("F32", "[1]", "[4,8]") + "}", "12345678"), "starts at byte 4");
  expect_damage(raw(scratch, "{" + good + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})", "12345"),
                "starts at byte 3");  // overlap
  expect_damage(raw(scratch, R"({"__metadata__":{"k":1}})", ""), "metadata 'k'");
  expect_damage(raw(scratch, R"({"a":3})", ""), "dtype");
}
