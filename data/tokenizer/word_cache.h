#pragma once
// Ids of words met before. Text repeats its words, so most of encoding is looking them up.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace isobath {

// An open-addressing table whose words and ids lie in two arenas. It grows to a quarter of a million words, then starts anew. Not
// thread-safe: one for each thread.
class WordCache {
 public:
  static constexpr size_t longest_word = 64;

  // Forgets everything when `owner` is another one than last time.
  void belong_to(uint64_t owner);
  std::span<int32_t const> const* find(std::string_view word);       // nullptr: not there; valid until the next call
  void insert(std::string_view word, std::span<int32_t const> ids);  // a word that find() just did not find

 private:
  struct Entry {
    uint64_t hash = 0;
    uint32_t word = 0, ids = 0;            // offsets
    uint16_t word_size = 0, ids_size = 0;  // word_size 0: free
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
