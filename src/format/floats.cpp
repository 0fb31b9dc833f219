#include "format/floats.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/error.h"

namespace isobath {
namespace {

constexpr uint16_t f16_infinity = 0x7C00;

template <typename T>
void put(std::byte*& to, T value) {
  std::memcpy(to, &value, sizeof value);
  to += sizeof value;
}

uint16_t checked_float16(float value) {
  uint16_t const half = to_float16(value);
  if (std::isfinite(value) && (half & 0x7FFF) == f16_infinity)
    throw Error(ExitCode::config, "the value " + std::to_string(value) + " is beyond the range of fp16 (65504)");
  return half;
}

void put_q8_blocks(std::span<float const> values, std::byte* to) {
  for (size_t block = 0; block < values.size(); block += q8_block) {
    auto const x = values.subspan(block, q8_block);
    float largest = 0;
    for (float const value : x) largest = std::max(largest, std::fabs(value));
    float const scale = largest / 127.f, inverse = scale != 0 ? 1.f / scale : 0.f;
    put(to, checked_float16(scale));
    for (float const value : x) put(to, static_cast<int8_t>(std::round(value * inverse)));
  }
}

}  // namespace

uint16_t to_float16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  auto const sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  bits &= 0x7FFFFFFF;
  if (bits > 0x7F800000) return sign | 0x7E00;         // not a number
  if (bits >= 0x47800000) return sign | f16_infinity;  // 65536 and above
  if (bits < 0x38800000) {                             // below the smallest normal number: adding 0.5 leaves the wanted bits at the end
    uint32_t const shifted = std::bit_cast<uint32_t>(std::bit_cast<float>(bits) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
    return sign | static_cast<uint16_t>(shifted);
  }
  bits += ((bits >> 13) & 1) + 0xFFF - ((127u - 15u) << 23);  // round, and change the bias of the exponent
  return sign | static_cast<uint16_t>(bits >> 13);
}

uint16_t to_bfloat16(float value) {
  uint32_t const bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

float from_float16(uint16_t bits) {
  uint32_t const sign = (bits & 0x8000u) << 16, rest = bits & 0x7FFFu;
  if (rest >= f16_infinity) return std::bit_cast<float>(sign | 0x7F800000u | (rest & 0x3FFu) << 13);  // infinite or not a number
  float const magnitude = rest < 0x400u ? static_cast<float>(rest) * 0x1p-24f                         // below the smallest normal number
                                        : std::bit_cast<float>((rest << 13) + ((127u - 15u) << 23));
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

float from_bfloat16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

std::vector<std::byte> encode_floats(std::span<float const> values, std::string const& dtype) {
  if (dtype == "Q8_0") {
    if (values.size() % q8_block != 0) throw Error(ExitCode::other, "Q8_0 needs a multiple of 32 values");
    std::vector<std::byte> bytes(values.size() / q8_block * (sizeof(uint16_t) + q8_block));
    put_q8_blocks(values, bytes.data());
    return bytes;
  }
  std::vector<std::byte> bytes(values.size() * (dtype == "F64" ? 8 : dtype == "F32" ? 4 : 2));
  std::byte* to = bytes.data();
  for (float const value : values) {
    if (dtype == "F64")
      put(to, double{value});
    else if (dtype == "F32")
      put(to, value);
    else if (dtype == "BF16")
      put(to, to_bfloat16(value));
    else
      put(to, checked_float16(value));
  }
  return bytes;
}

}  // namespace isobath
