#include "core/random.h"

#include <cmath>
#include <numbers>

namespace isobath {

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

uint64_t hash_text(std::string_view text) {
  uint64_t h = 0xcbf29ce484222325ULL;
  for (unsigned char c : text) h = (h ^ c) * 0x100000001b3ULL;
  return mix(h);
}

uint64_t make_key(std::initializer_list<uint64_t> parts) {
  uint64_t key = 0x9e3779b97f4a7c15ULL;
  for (uint64_t part : parts) key = mix(key ^ mix(part + 0x9e3779b97f4a7c15ULL)) + 0x632be59bd9b4e019ULL;
  return key;
}

double random_uniform(uint64_t key, uint64_t counter) {
  // 52 bits: with 53 the largest value plus a half would round up to 1.
  return (static_cast<double>(random_bits(key, counter) >> 12) + 0.5) * 0x1.0p-52;
}

double random_normal(uint64_t key, uint64_t counter) {
  // Both numbers of a Box-Muller pair come from the pair's counter, so neighbours do not share work or state.
  uint64_t const pair = counter & ~1ULL;
  double const radius = std::sqrt(-2.0 * std::log(random_uniform(key, pair)));
  double const angle = 2.0 * std::numbers::pi * random_uniform(key, pair + 1);
  return radius * ((counter & 1) ? std::sin(angle) : std::cos(angle));
}

uint64_t permute(uint64_t index, uint64_t n, uint64_t key) {
  if (n <= 1) return 0;
  int half = 1;
  while ((1ULL << (2 * half)) < n) ++half;
  uint64_t const mask = (1ULL << half) - 1;
  do {  // the Feistel network permutes [0, 4^half); walk its cycle until the value falls inside [0, n)
    uint64_t left = index >> half, right = index & mask;
    for (uint64_t round = 0; round < 6; ++round) {
      uint64_t const next = left ^ (random_bits(key ^ round * 0xd6e8feb86659fd93ULL, right) & mask);
      left = right;
      right = next;
    }
    index = (left << half) | right;
  } while (index >= n);
  return index;
}

}  // namespace isobath
