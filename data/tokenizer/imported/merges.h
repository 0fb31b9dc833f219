#pragma once
// Byte-pair merging: of all neighbours that the list of merges has, the pair that stands first in it becomes one symbol, the leftmost such
// pair first, until there is none.

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace isobath {

class Merges {
 public:
  void reserve(size_t count) { rules_.reserve(count); }
  void add(int32_t left, int32_t right, int32_t result);  // in the order of the list; a pair listed twice counts where it stands last
  void apply(std::vector<int32_t>& symbols) const;        // n log n for n symbols. Thread-safe.

 private:
  struct Rule {
    int32_t rank, result;
  };
  Rule const* find(int32_t left, int32_t right) const;

  int32_t count_ = 0;
  std::unordered_map<uint64_t, Rule> rules_;
};

}  // namespace isobath
