#pragma once
// Counter-based random numbers: every value is a pure function of a key and a counter, so nothing about
// randomness ever has to be stored in a checkpoint, and arms that share a key share their numbers.

#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace isobath {

uint64_t mix(uint64_t x);                   // splitmix64 finaliser, a bijection
uint64_t hash_text(std::string_view text);  // FNV-1a, then mixed: stable across platforms and versions
uint64_t make_key(std::initializer_list<uint64_t> parts);

inline uint64_t random_bits(uint64_t key, uint64_t counter) { return mix(mix(counter + 0x9e3779b97f4a7c15ULL) ^ key); }
double random_uniform(uint64_t key, uint64_t counter);  // (0, 1)
double random_normal(uint64_t key, uint64_t counter);   // mean 0, variance 1 (Box-Muller)

// The image of `index` under a pseudo-random permutation of [0, n) chosen by `key` (Feistel with cycle walking).
uint64_t permute(uint64_t index, uint64_t n, uint64_t key);

}  // namespace isobath
