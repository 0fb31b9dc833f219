#pragma once
// Tokens that are found in a text before anything else is done with it: "<|endoftext|>", "<|im_start|>".

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace isobath {

struct AddedToken {
  int32_t id = -1;
  std::string text;
  bool special = false;
  bool normalized = false;              // looked for in the normalized text
  bool lstrip = false, rstrip = false;  // takes the white space before or behind it along
};

class AddedTokens {
 public:
  // With split_special, special tokens in a text are left as text.
  AddedTokens(std::vector<AddedToken> tokens, bool split_special);

  struct Found {
    AddedToken const* token = nullptr;  // nullptr: none up to the end of the text
    size_t begin = 0, end = 0;
  };
  // The first token that starts at or behind `from`; of several that start there, the longest.
  Found find(std::string_view text, size_t from) const;

 private:
  bool split_special_;
  std::vector<AddedToken> tokens_;                              // by first byte, then the longest first
  std::array<std::pair<size_t, size_t>, 256> by_first_byte_{};  // ranges in tokens_
};

}  // namespace isobath
