#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "format/floats.h"
#include "format/gguf.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

TensorView tensor(std::string const& name, std::string const& dtype, std::vector<int64_t> const& shape,
                  std::vector<std::byte> const& bytes) {
  return {name, dtype, shape, bytes};
}

void expect_damaged_gguf(fs::path const& path, std::string const& words) {
  INFO(words);
  try {
    GgufFile const file(path);
    FAIL("was read");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::checkpoint);
    CHECK_THAT(error.what(), ContainsSubstring(words) && ContainsSubstring(path.filename().string()));
  }
}

template <typename T>
std::string raw_bytes(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}
std::string raw_text(std::string const& text) { return raw_bytes(uint64_t{text.size()}) + text; }

}  // namespace

TEST_CASE("gguf: a tiny file byte for byte") {
  Scratch const scratch;
  std::vector<float> const values{1.5f, -2.f, 0.f, 4.f, 5.f, 6.f};
  auto const bytes = encode_floats(values, "F32");
  write_gguf(scratch / "t.gguf", {tensor("a", "F32", {2, 3}, bytes), tensor("b", "F32", {6}, bytes)},
             {{"k", uint32_t{7}}, {"s", std::string("hi")}, {"l", gguf_array(std::vector<std::string>{"x", ""})}, {"no", false}});
  std::string wanted = "GGUF" + raw_bytes(uint32_t{3}) + raw_bytes(uint64_t{2}) + raw_bytes(uint64_t{4});
  wanted += raw_text("k") + raw_bytes(uint32_t{4}) + raw_bytes(uint32_t{7});
  wanted += raw_text("s") + raw_bytes(uint32_t{8}) + raw_text("hi");
  wanted += raw_text("l") + raw_bytes(uint32_t{9}) + raw_bytes(uint32_t{8}) + raw_bytes(uint64_t{2}) + raw_text("x") + raw_text("");
  wanted += raw_text("no") + raw_bytes(uint32_t{7}) + raw_bytes(uint8_t{0});
  wanted += raw_text("a") + raw_bytes(uint32_t{2}) + raw_bytes(uint64_t{3}) + raw_bytes(uint64_t{2}) + raw_bytes(uint32_t{0}) +
            raw_bytes(uint64_t{0});
  wanted += raw_text("b") + raw_bytes(uint32_t{1}) + raw_bytes(uint64_t{6}) + raw_bytes(uint32_t{0}) + raw_bytes(uint64_t{32});
  wanted.resize((wanted.size() + 31) / 32 * 32);
  std::string data(32, '\0');
  std::memcpy(data.data(), values.data(), 24);
  CHECK(read_file(scratch / "t.gguf") == wanted + data + data);
}

TEST_CASE("gguf: every type of metadata comes back, and tensors with their shapes") {
  Scratch const scratch;
  GgufMetadata const metadata{{"u8", uint8_t{200}},
                              {"i8", int8_t{-3}},
                              {"u16", uint16_t{60000}},
                              {"i16", int16_t{-300}},
                              {"u32", uint32_t{4000000000}},
                              {"i32", int32_t{-5}},
                              {"f32", 1e-5f},
                              {"bool", true},
                              {"text", std::string("\xc3\xa9\0z", 4)},
                              {"u64", std::numeric_limits<uint64_t>::max()},
                              {"i64", std::numeric_limits<int64_t>::min()},
                              {"f64", 0.1},
                              {"floats", gguf_array(std::vector<float>{1.f, 2.f})},
                              {"nested", GgufArray{9, {gguf_array(std::vector<int32_t>{1, 2}), gguf_array(std::vector<int32_t>{})}}}};
  std::vector<float> const values(64, 0.5f);
  auto const f16 = encode_floats(values, "F16"), q8 = encode_floats(values, "Q8_0");
  write_gguf(scratch / "t.gguf", {tensor("half", "F16", {4, 16}, f16), tensor("quantised", "Q8_0", {2, 32}, q8)}, metadata);
  GgufFile const file(scratch / "t.gguf");
  CHECK(file.metadata() == metadata);
  REQUIRE(file.tensors().size() == 2);
  TensorView const* found = file.find("quantised");
  REQUIRE(found);
  CHECK(found->dtype == "Q8_0");
  CHECK(found->shape == std::vector<int64_t>{2, 32});
  CHECK(std::vector<std::byte>(found->bytes.begin(), found->bytes.end()) == q8);
  CHECK(file.find("half")->shape == std::vector<int64_t>{4, 16});
  CHECK(file.find("nothing") == nullptr);
  CHECK(file.find_metadata("nothing") == nullptr);
  CHECK(*file.find_metadata("i32") == GgufValue(int32_t{-5}));
  CHECK_FALSE(*file.find_metadata("i32") == GgufValue(uint32_t(-5)));
}

TEST_CASE("gguf: what the format cannot hold is not written") {
  Scratch const scratch;
  std::vector<std::byte> const bytes(4 * 24);
  for (TensorView const& wrong :
       {tensor("rows of 24", "Q8_0", {1, 24}, bytes), tensor("short", "F32", {5, 5}, bytes), tensor("unknown", "F8", {24}, bytes),
        tensor(std::string(64, 'n'), "F32", {24}, bytes), tensor("deep", "F32", {1, 1, 1, 1, 24}, bytes)}) {
    INFO(wrong.name);
    CHECK_THROWS_AS(write_gguf(scratch / "t.gguf", {wrong}, {}), Error);
    CHECK_FALSE(fs::exists(scratch / "t.gguf"));
  }
}

TEST_CASE("gguf: damaged files are refused, whatever the damage") {
  Scratch const scratch;
  auto const bytes = encode_floats(std::vector<float>(6, 1.f), "F32");
  write_gguf(scratch / "t.gguf", {tensor("a", "F32", {2, 3}, bytes), tensor("b", "F32", {6}, bytes)},
             {{"list", gguf_array(std::vector<float>{1, 2, 3})}, {"name", std::string("x")}});
  std::string const whole = read_file(scratch / "t.gguf");
  for (size_t size = 0; size + 8 < whole.size(); ++size) {  // the last 8 bytes are padding
    INFO(size);
    CHECK_THROWS_AS(GgufFile(scratch.write("cut.gguf", whole.substr(0, size))), Error);
  }
  auto const changed = [&](std::string const& at, size_t behind, std::string const& bytes_there) {
    std::string copy = whole;
    copy.replace(whole.find(at) + at.size() + behind, bytes_there.size(), bytes_there);
    return scratch.write("changed.gguf", copy);
  };
  std::string const b = raw_text("b");
  expect_damaged_gguf(scratch / "absent.gguf", "absent.gguf");
  expect_damaged_gguf(scratch.write("other.gguf", "safetensors, perhaps"), "does not start with 'GGUF'");
  expect_damaged_gguf(changed("GGUF", 0, raw_bytes(uint32_t{9})), "version is 9");
  expect_damaged_gguf(changed("list", 0, raw_bytes(uint32_t{99})), "unknown type 99");
  expect_damaged_gguf(changed("list", 8, raw_bytes(uint64_t{1} << 60)), "claims");
  expect_damaged_gguf(changed(b, 0, raw_bytes(uint32_t{9})), "9 dimensions");
  expect_damaged_gguf(changed(b, 4, raw_bytes(int64_t{-6})), "shape");
  expect_damaged_gguf(changed(b, 4, raw_bytes(int64_t{1} << 62)), "shape");
  expect_damaged_gguf(changed(b, 4, raw_bytes(int64_t{1} << 40)), "behind the end");
  expect_damaged_gguf(changed(b, 12, raw_bytes(uint32_t{77})), "unknown type 77");
  expect_damaged_gguf(changed(b, 16, raw_bytes(uint64_t{64})), "starts at 64");
  expect_damaged_gguf(changed("", whole.find(raw_text("a")), raw_text("b")), "listed twice");
}

TEST_CASE("floats: rounded to nearest, ties to even") {
  struct Row {
    float value;
    uint16_t f16, bf16;
  };
  float const inf = std::numeric_limits<float>::infinity();
  for (Row const& row : std::vector<Row>{{0.f, 0, 0},
                                         {-0.f, 0x8000, 0x8000},
                                         {1.f, 0x3C00, 0x3F80},
                                         {-2.f, 0xC000, 0xC000},
                                         {65504.f, 0x7BFF, 0x4780},
                                         {65519.996f, 0x7BFF, 0x4780},
                                         {65520.f, 0x7C00, 0x4780},
                                         {inf, 0x7C00, 0x7F80},
                                         {-inf, 0xFC00, 0xFF80},
                                         {std::ldexp(1.f, -14), 0x0400, 0x3880},
                                         {std::ldexp(1.f, -24), 0x0001, 0x3380},
                                         {std::ldexp(1.f, -25), 0x0000, 0x3300},  // half of the smallest: to even
                                         {std::ldexp(1.5f, -24), 0x0002, 0x33C0},
                                         {1.f + std::ldexp(1.f, -11), 0x3C00, 0x3F80},
                                         {1.f + std::ldexp(3.f, -11), 0x3C02, 0x3F80},
                                         {1.f + std::ldexp(1.f, -8), 0x3C04, 0x3F80},
                                         {1.f + std::ldexp(3.f, -8), 0x3C0C, 0x3F82}}) {
    INFO(row.value);
    CHECK(to_float16(row.value) == row.f16);
    CHECK(to_bfloat16(row.value) == row.bf16);
  }
  CHECK((to_float16(std::nanf("")) & 0x7C00) == 0x7C00);
  CHECK((to_float16(std::nanf("")) & 0x03FF) != 0);
  CHECK((to_bfloat16(std::nanf("")) & 0x007F) != 0);
}

TEST_CASE("floats: Q8_0 has a scale and 32 numbers a block") {
  std::vector<float> values(64, 0.f);
  for (size_t i = 0; i < 32; ++i) values[i] = static_cast<float>(i) - 15.5f;
  values[0] = 127.f;  // scale 1
  auto const bytes = encode_floats(values, "Q8_0");
  REQUIRE(bytes.size() == 68);
  auto const at = [&](size_t i) { return static_cast<int>(static_cast<int8_t>(bytes[i])); };
  CHECK(bytes[0] == std::byte{0x00});
  CHECK(bytes[1] == std::byte{0x3C});
  CHECK(at(2) == 127);
  CHECK(at(3) == -15);  // -14.5: half away from zero
  CHECK(at(2 + 31) == 16);
  for (size_t i = 34; i < 68; ++i) CHECK(bytes[i] == std::byte{0});  // a block of zeros
  CHECK_THROWS_AS(encode_floats(std::vector<float>(33, 1.f), "Q8_0"), Error);
  CHECK_THROWS_AS(encode_floats(std::vector<float>{70000.f}, "F16"), Error);
  CHECK_NOTHROW(encode_floats(std::vector<float>{70000.f}, "BF16"));
}
