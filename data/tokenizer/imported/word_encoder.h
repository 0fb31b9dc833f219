#pragma once
// The words that a text was cut into, each as one symbol a byte or a character and then merged.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/imported/merges.h"
#include "data/tokenizer/imported/tokenizer_file.h"

namespace isobath {

class WordEncoder {
 public:
  explicit WordEncoder(TokenizerFile const& file);                      // throws Error(data)
  void append(std::string_view word, std::vector<int32_t>& ids) const;  // thread-safe

 private:
  void add_bytes(std::string_view word, std::vector<int32_t>& symbols) const;
  void add_characters(std::string_view word, std::vector<int32_t>& symbols) const;

  bool byte_level_, fuse_unknown_, ignore_merges_;
  int32_t unknown_;
  std::array<int32_t, 256> bytes_;                // -1: no token
  std::unordered_map<std::string, int32_t> ids_;  // of what text can become, by that text
  Merges merges_;
};

}  // namespace isobath
