#include "nn/kernels_cpu_decode.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/kernels_cpu_math.h"

namespace isobath::kernels {

ISOBATH_MULTIVERSION
void decode_attention(DecodeShape const& s, BlockedKeys const* texts, float const* q, float* out, int64_t first, int64_t last) {
  int64_t const group = s.heads / s.kv_heads, width = s.head_dim, head_floats = s.block_rows * width;
  auto const scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(width)));
  std::vector<float> scores;
  for (int64_t item = first; item < last; ++item) {
    int64_t const query = item / s.kv_heads, kv_head = item % s.kv_heads, rows = texts[query].rows;
    float const* const q_group = q + (query * s.heads + kv_head * group) * width;
    float* const out_group = out + (query * s.heads + kv_head * group) * width;
    std::fill_n(out_group, group * width, 0.0f);
    if (rows == 0) continue;
    scores.resize(static_cast<size_t>(group * rows));
    for (int64_t row = 0; row < rows; ++row) {
      float const* __restrict key = texts[query].blocks[row / s.block_rows] + kv_head * head_floats + row % s.block_rows * width;
      for (int64_t h = 0; h < group; ++h) {
        float const* __restrict from = q_group + h * width;
        float dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t e = 0; e < width; ++e) dot += from[e] * key[e];
        scores[static_cast<size_t>(h * rows + row)] = scale * dot;
      }
    }
    for (int64_t h = 0; h < group; ++h) {
      float* __restrict p = scores.data() + h * rows;
      float largest = p[0];
#pragma omp simd reduction(max : largest)
      for (int64_t row = 0; row < rows; ++row) largest = p[row] > largest ? p[row] : largest;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t row = 0; row < rows; ++row) {
        p[row] = exp_fast(p[row] - largest);
        sum += p[row];
      }
      float const inverse = 1.0f / sum;
#pragma omp simd
      for (int64_t row = 0; row < rows; ++row) p[row] *= inverse;
    }
    for (int64_t row = 0; row < rows; ++row) {
      float const* __restrict value =
          texts[query].blocks[row / s.block_rows] + s.values + kv_head * head_floats + row % s.block_rows * width;
      for (int64_t h = 0; h < group; ++h) {
        float const weight = scores[static_cast<size_t>(h * rows + row)];
        float* __restrict to = out_group + h * width;
#pragma omp simd
        for (int64_t e = 0; e < width; ++e) to[e] += weight * value[e];
      }
    }
  }
}

}  // namespace isobath::kernels
