#pragma once
// fp32 values as the bytes of other number types.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace isobath {

constexpr size_t q8_block = 32;  // values that share a scale in Q8_0

// Rounded to nearest, ties to even; values too large become infinite.
uint16_t to_float16(float value);
uint16_t to_bfloat16(float value);
float from_float16(uint16_t bits);
float from_bfloat16(uint16_t bits);

// The values as dtype F64, F32, F16, BF16 or Q8_0. Q8_0 is llama.cpp's: blocks of 32 values with one scale, largest magnitude / 127 in
// fp16, and each value divided by the scale and rounded half away from zero in 8 bits. Throws Error(config) for a finite value that F16 or
// a scale cannot hold.
std::vector<std::byte> encode_floats(std::span<float const> values, std::string const& dtype);

}  // namespace isobath
