#pragma once
// Caches the token ids of words. Text repeats its words, so most of encoding becomes a look-up.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace isobath {

// An open-addressing hash table whose words and ids are stored in two shared buffers. It is emptied when it holds a quarter of a million
// words. Not thread-safe: each thread needs its own.
class WordCache {
 public:
  static constexpr size_t longest_word = 64;

  // Empties the cache when `owner`, the number of a tokenizer, is not that of the last call.
  void belong_to(uint64_t owner);
  std::span<int32_t const> const* find(std::string_view word);       // nullptr: not cached; valid until the next call
  void insert(std::string_view word, std::span<int32_t const> ids);  // only right after find(word) returned nullptr

 private:
  struct Entry {
    uint64_t hash = 0;
    uint32_t word = 0, ids = 0;            // offsets into words_ and ids_
    uint16_t word_size = 0, ids_size = 0;  // word_size 0: unused entry
  };
  void clear();
  void grow();
  size_t first_slot() const { return hash_ & (entries_.size() - 1); }

  uint64_t owner_ = 0;
  uint64_t hash_ = 0;
  size_t slot_ = 0, used_ = 0;
  std::vector<Entry> entries_;
  std::string words_;
  std::vector<int32_t> ids_;
  std::span<int32_t const> found_;
};

}  // namespace isobath
