#pragma once
// ggml's quantised blocks of values as floats, as llama.cpp's reference dequantises them. Uses no LibTorch.

#include <cstddef>
#include <span>
#include <string>

namespace isobath {

// Whether values of this type can be read: F64, F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q6_K.
bool is_float_type(std::string const& dtype);

// Fills `values` from the bytes of a tensor of one of these types. Throws Error(checkpoint) for another type, and when the sizes do not
// fit.
void decode_floats(std::span<std::byte const> bytes, std::string const& dtype, std::span<float> values);

}  // namespace isobath
