// Blocks of quantised values against llama.cpp's own Python package (gguf 0.19.0, gguf.quants.dequantize).
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "core/error.h"
#include "format/floats.h"
#include "format/llama_cpp_names.h"
#include "format/quantised.h"

using namespace isobath;

namespace {

std::vector<float> decoded(std::vector<std::byte> const& bytes, std::string const& dtype, size_t count) {
  std::vector<float> values(count);
  decode_floats(bytes, dtype, values);
  return values;
}

}  // namespace

TEST_CASE("quantised: a block of every type, whose byte i is 37 i + 11, with scale 0.25 and minimum -1.5") {
  struct Row {
    char const* dtype;
    size_t values, bytes;
    std::vector<size_t> scales;  // where scale and minimum lie
    double first, middle, last, sum, weighted;
  };
  std::vector<Row> const rows{{"Q4_0", 32, 18, {0}, -0.75, -0.25, 0.0, -5.25, -129.5},
                              {"Q4_1", 32, 20, {0, 2}, 2.25, 1.5, 1.5, 13.25, 203.75},
                              {"Q5_0", 32, 22, {0}, 2.25, 0.0, 0.25, 3.75, 28.0},
                              {"Q5_1", 32, 24, {0, 2}, 3.25, -0.25, -0.25, 78.25, 1183.25},
                              {"Q8_0", 32, 34, {0}, 21.25, -13.5, -12.0, -44.0, -2020.0},
                              {"Q4_K", 256, 144, {0, 2}, 161.75, 18.0, 69.0, 27338.0, 3439274.0},
                              {"Q6_K", 256, 210, {208}, -357.75, 104.0, -15.0, 1153.0, 196105.0}};
  for (Row const& row : rows) {
    CAPTURE(row.dtype);
    std::vector<std::byte> block(row.bytes);
    for (size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::byte>(37 * i + 11);
    for (size_t k = 0; k < row.scales.size(); ++k) {
      uint16_t const bits = to_float16(k == 0 ? 0.25f : -1.5f);
      std::memcpy(block.data() + row.scales[k], &bits, sizeof bits);
    }
    std::vector<std::byte> two = block;
    two.insert(two.end(), block.begin(), block.end());
    std::vector<float> const values = decoded(two, row.dtype, 2 * row.values);
    double sum = 0, weighted = 0;
    for (size_t i = 0; i < row.values; ++i) {
      CHECK(values[i] == values[row.values + i]);
      sum += static_cast<double>(values[i]);
      weighted += static_cast<double>(values[i]) * static_cast<double>(i + 1);
    }
    CHECK(static_cast<double>(values[0]) == row.first);
    CHECK(static_cast<double>(values[row.values / 2 + 1]) == row.middle);
    CHECK(static_cast<double>(values[row.values - 1]) == row.last);
    CHECK(sum == row.sum);
    CHECK(weighted == row.weighted);
  }
}

TEST_CASE("quantised: what is written is read back") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.f, 3.f);
  std::vector<float> values(96);
  for (float& value : values) value = normal(random);
  values[0] = 0.f;
  values[1] = 5e-8f;  // below the smallest normal half
  CHECK(decoded(encode_floats(values, "F32"), "F32", values.size()) == values);
  CHECK(decoded(encode_floats(values, "F64"), "F64", values.size()) == values);
  for (auto const& [dtype, error] : {std::pair("F16", 1.f / 2048), std::pair("BF16", 1.f / 256), std::pair("Q8_0", 0.f)}) {
    CAPTURE(dtype);
    std::vector<float> const back = decoded(encode_floats(values, dtype), dtype, values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      float largest = 0;
      for (size_t k = i / 32 * 32; k < i / 32 * 32 + 32; ++k) largest = std::max(largest, std::fabs(values[k]));
      CHECK(std::fabs(back[i] - values[i]) <= (error > 0 ? error * std::fabs(values[i]) + 6e-8f : 0.57f * largest / 127.f));
    }
  }
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {  // every half that is a number
    float const value = from_float16(static_cast<uint16_t>(bits));
    if (!std::isnan(value)) REQUIRE(to_float16(value) == bits);
  }
  CHECK(from_bfloat16(to_bfloat16(-2.5f)) == -2.5f);
}

TEST_CASE("quantised: what is not read is refused") {
  std::vector<std::byte> const bytes(34);
  std::vector<float> values(32);
  CHECK_THROWS_AS(decode_floats(bytes, "Q2_K", values), Error);
  CHECK_THROWS_AS(decode_floats(bytes, "Q4_0", values), Error);
  values.resize(31);
  CHECK_THROWS_AS(decode_floats(bytes, "Q8_0", values), Error);
  CHECK_FALSE(is_float_type("Q3_K"));
  CHECK(is_float_type("Q6_K"));
}

TEST_CASE("quantised: names of llama.cpp and back") {
  for (char const* name :
       {"model.embed_tokens.weight", "lm_head.weight", "model.layers.12.self_attn.q_proj.bias", "model.layers.0.mlp.down_proj.weight"})
    CHECK(hugging_face_name(llama_cpp_name(name)) == name);
  CHECK(llama_cpp_name("model.layers.12.post_attention_layernorm.weight") == "blk.12.ffn_norm.weight");
  CHECK(llama_cpp_name("model.layers.1.router.weight").empty());
  CHECK(hugging_face_name("blk.0.ffn_gate_inp.weight").empty());
  CHECK(hugging_face_name("blk").empty());
}
