#pragma once
// The K largest scores of a sequence by radix selection: three rounds of counting find the key of the K-th largest score, a last pass
// writes the positions in order. Written for a group of threads like the bodies of rows.h.

#include <cstring>

#include "nn/backend/cuda/rows.h"

namespace isobath::cuda {

// Unsigned keys in the order of the scores: -0 equals 0, NaN is the largest.
ISOBATH_DEVICE uint32_t score_key(float score) {
  if (score != score) return ~uint32_t{0};
  if (score == 0) return uint32_t{1} << 31;
  uint32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  return bits >> 31 ? ~bits : bits | uint32_t{1} << 31;
}

struct TopK {
  static constexpr int digits = 2048;
  struct Scratch {
    int counts[digits];
    uint32_t digit;
    int left;
  };

  float const* scores;
  int64_t* index;
  int T, K;  // 1 <= K <= T

  template <typename Group>
  ISOBATH_DEVICE void operator()(Group const& group, int64_t row) const {
    float const* const sequence = scores + row * T;
    auto& scratch = *static_cast<Scratch*>(group.scratch());

    // The bits of the K-th largest key that are known so far, and how many of the keys with these bits are still to be taken.
    uint32_t known = 0, prefix = 0;
    int left = K;
    constexpr int shifts[] = {21, 10, 0};
    for (int shift : shifts) {
      each(group, digits, [&](int i) { scratch.counts[i] = 0; });
      group.sync();
      each(group, T, [&](int t) {
        uint32_t const key = score_key(sequence[t]);
        if ((key & known) == prefix) group.increment(&scratch.counts[(key ^ prefix) >> shift]);
      });
      group.sync();
      int larger = 0;  // keys with a larger digit than those that this iteration looks at
      for (int first = 0; first < digits; first += group.size()) {
        int const i = digits - 1 - first - group.rank(), count = i >= 0 ? scratch.counts[i] : 0;
        int total;
        int const before = larger + group.scan(count, total);
        if (before < left && left <= before + count) {  // true for one digit
          scratch.digit = static_cast<uint32_t>(i);
          scratch.left = left - before;
        }
        larger += total;
      }
      group.sync();
      prefix |= scratch.digit << shift;
      left = scratch.left;
      known = ~uint32_t{0} << shift;
    }

    // Now prefix is the K-th largest key itself: all larger keys are taken, and the first `left` equal ones. One scan counts both, each in
    // one half of an int: a group has fewer than 2^15 members.
    int larger = 0, equal = 0;
    for (int first = 0; first < T; first += group.size()) {
      int const t = first + group.rank();
      uint32_t const key = t < T ? score_key(sequence[t]) : 0;
      bool const is_larger = t < T && key > prefix, is_equal = t < T && key == prefix;
      int total;
      int const before = group.scan(is_larger + (is_equal << 16), total);
      int const larger_before = larger + (before & 0xffff), equal_before = equal + (before >> 16);
      if (is_larger || (is_equal && equal_before < left))
        index[row * K + larger_before + (equal_before < left ? equal_before : left)] = row * T + t;
      larger += total & 0xffff;
      equal += total >> 16;
    }
  }
};

}  // namespace isobath::cuda
