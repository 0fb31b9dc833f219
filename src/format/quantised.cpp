#include "format/quantised.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/error.h"
#include "format/floats.h"

namespace isobath {
namespace {

template <typename T>
T get(std::byte const* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

float half(std::byte const* from) { return from_float16(get<uint16_t>(from)); }

uint8_t low(uint8_t byte) { return byte & 0xF; }
uint8_t high(uint8_t byte) { return byte >> 4; }

// One block: bytes in, values out. Those of 32 values hold the low halves of their bytes first, then the high halves.

void single_f64(std::byte const* from, float* to) { *to = static_cast<float>(get<double>(from)); }
void single_f32(std::byte const* from, float* to) { *to = get<float>(from); }
void single_f16(std::byte const* from, float* to) { *to = half(from); }
void single_bf16(std::byte const* from, float* to) { *to = from_bfloat16(get<uint16_t>(from)); }

void block_q4_0(std::byte const* from, float* to) {
  float const scale = half(from);
  for (int i = 0; i < 16; ++i) {
    auto const byte = get<uint8_t>(from + 2 + i);
    to[i] = static_cast<float>(low(byte) - 8) * scale;
    to[i + 16] = static_cast<float>(high(byte) - 8) * scale;
  }
}

void block_q4_1(std::byte const* from, float* to) {
  float const scale = half(from), least = half(from + 2);
  for (int i = 0; i < 16; ++i) {
    auto const byte = get<uint8_t>(from + 4 + i);
    to[i] = static_cast<float>(low(byte)) * scale + least;
    to[i + 16] = static_cast<float>(high(byte)) * scale + least;
  }
}

// The fifth bits of all values lie in one number, value by value.
int fifth_bit(uint32_t bits, int i) { return static_cast<int>(bits >> i & 1) << 4; }

void block_q5_0(std::byte const* from, float* to) {
  float const scale = half(from);
  auto const fifth = get<uint32_t>(from + 2);
  for (int i = 0; i < 16; ++i) {
    auto const byte = get<uint8_t>(from + 6 + i);
    to[i] = static_cast<float>((low(byte) | fifth_bit(fifth, i)) - 16) * scale;
    to[i + 16] = static_cast<float>((high(byte) | fifth_bit(fifth, i + 16)) - 16) * scale;
  }
}

void block_q5_1(std::byte const* from, float* to) {
  float const scale = half(from), least = half(from + 2);
  auto const fifth = get<uint32_t>(from + 4);
  for (int i = 0; i < 16; ++i) {
    auto const byte = get<uint8_t>(from + 8 + i);
    to[i] = static_cast<float>(low(byte) | fifth_bit(fifth, i)) * scale + least;
    to[i + 16] = static_cast<float>(high(byte) | fifth_bit(fifth, i + 16)) * scale + least;
  }
}

void block_q8_0(std::byte const* from, float* to) {
  float const scale = half(from);
  for (int i = 0; i < 32; ++i) to[i] = static_cast<float>(get<int8_t>(from + 2 + i)) * scale;
}

// 256 values in eight groups of 32, each with a scale and a minimum of six bits, packed into twelve bytes.
void block_q4_k(std::byte const* from, float* to) {
  float const scale = half(from), least = half(from + 2);
  std::byte const *packed = from + 4, *values = from + 16;
  auto const byte = [&](size_t i) { return get<uint8_t>(packed + i); };
  for (size_t group = 0; group < 8; ++group) {
    int const six_scale = group < 4 ? byte(group) & 63 : low(byte(group + 4)) | byte(group - 4) >> 6 << 4;
    int const six_least = group < 4 ? byte(group + 4) & 63 : high(byte(group + 4)) | byte(group) >> 6 << 4;
    float const of_group = scale * static_cast<float>(six_scale), subtracted = least * static_cast<float>(six_least);
    for (size_t i = 0; i < 32; ++i) {
      auto const both = get<uint8_t>(values + group / 2 * 32 + i);
      to[group * 32 + i] = of_group * static_cast<float>(group % 2 == 0 ? low(both) : high(both)) - subtracted;
    }
  }
}

// 256 values of six bits: four low ones, then two high ones, and a scale for every sixteen values.
void block_q6_k(std::byte const* from, float* to) {
  float const scale = half(from + 208);
  for (size_t value = 0; value < 256; ++value) {
    size_t const side = value / 128, within = value % 128, quarter = within / 32, i = within % 32;
    auto const four = get<uint8_t>(from + side * 64 + quarter % 2 * 32 + i), two = get<uint8_t>(from + 128 + side * 32 + i);
    int const six = (quarter < 2 ? low(four) : high(four)) | (two >> 2 * quarter & 3) << 4;
    auto const of_sixteen = get<int8_t>(from + 192 + side * 8 + quarter * 2 + i / 16);
    to[value] = scale * static_cast<float>(of_sixteen) * static_cast<float>(six - 32);
  }
}

struct BlockType {
  char const* name;
  size_t values, bytes;
  void (*decode)(std::byte const*, float*);
};
constexpr BlockType block_types[] = {{"F64", 1, 8, single_f64},      {"F32", 1, 4, single_f32},     {"F16", 1, 2, single_f16},
                                     {"BF16", 1, 2, single_bf16},    {"Q4_0", 32, 18, block_q4_0},  {"Q4_1", 32, 20, block_q4_1},
                                     {"Q5_0", 32, 22, block_q5_0},   {"Q5_1", 32, 24, block_q5_1},  {"Q8_0", 32, 34, block_q8_0},
                                     {"Q4_K", 256, 144, block_q4_k}, {"Q6_K", 256, 210, block_q6_k}};

BlockType const* find_type(std::string const& name) {
  auto const found = std::find_if(std::begin(block_types), std::end(block_types), [&](BlockType const& type) { return name == type.name; });
  return found == std::end(block_types) ? nullptr : found;
}

}  // namespace

bool is_float_type(std::string const& dtype) { return find_type(dtype) != nullptr; }

void decode_floats(std::span<std::byte const> bytes, std::string const& dtype, std::span<float> values) {
  BlockType const* const type = find_type(dtype);
  if (!type) throw Error(ExitCode::checkpoint, "values of type " + dtype + " cannot be read");
  size_t const blocks = values.size() / type->values;
  if (blocks * type->values != values.size() || blocks * type->bytes != bytes.size())
    throw Error(ExitCode::checkpoint,
                std::to_string(values.size()) + " values of type " + dtype + " do not take " + std::to_string(bytes.size()) + " bytes");
  for (size_t block = 0; block < blocks; ++block) type->decode(bytes.data() + block * type->bytes, values.data() + block * type->values);
}

}  // namespace isobath
