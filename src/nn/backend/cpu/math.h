#pragma once
// What the CPU kernels' translation units share: inlining, builds for several instruction sets, and an exponential that vectorises.

#include <cstdint>

#define ISOBATH_INLINE __attribute__((always_inline)) inline

// One build serves every CPU: the dynamic loader picks the clone for it. AddressSanitizer runs before the loader can pick one.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define ISOBATH_MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define ISOBATH_MULTIVERSION
#endif

namespace isobath::kernels {

// e^x to about 2 ulp, branch-free so that loops around it vectorise (Cody & Waite reduction, degree-6 polynomial).
ISOBATH_INLINE float exp_fast(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  float const shifted = x * 1.44269504088896341f + 12582912.0f;  // adding 1.5 * 2^23 rounds to the nearest integer
  float const n = shifted - 12582912.0f;
  float r = x - n * 0.693145751953125f;
  r -= n * 1.42860682030941723e-6f;
  float p = 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  int32_t const exponent = __builtin_bit_cast(int32_t, shifted) - __builtin_bit_cast(int32_t, 12582912.0f);
  return p * __builtin_bit_cast(float, (exponent + 127) << 23);
}

// p[i] = e^(scale (p[i] - largest)), the numerators of a softmax. Gives their sum.
ISOBATH_INLINE float softmax_numerators(float* __restrict p, int64_t count, float scale, float& largest) {
  float most = p[0];
#pragma omp simd reduction(max : most)
  for (int64_t i = 0; i < count; ++i) most = p[i] > most ? p[i] : most;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    p[i] = exp_fast(scale * (p[i] - most));
    sum += p[i];
  }
  largest = most;
  return sum;
}

}  // namespace isobath::kernels
