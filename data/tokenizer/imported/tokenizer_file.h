#pragma once
// What a Hugging Face tokenizer.json says, checked: everything that Isobath does not do is refused by its name.

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/imported/added_tokens.h"

namespace isobath {

// A space is put before a text: by the normalizer before any text, by the pre-tokenizer only before one that does not start with a space.
enum class Prefix { none, always, unless_space, first_unless_space };

struct TokenizerFile {
  struct Merge {
    int32_t left, right, result;
  };

  std::vector<AddedToken> added;
  std::unordered_map<std::string, int32_t> vocabulary;  // as in the file
  std::vector<Merge> merges;                            // the most urgent first
  int32_t unknown = -1;                                 // stands for what has no token; -1: that is dropped
  bool fuse_unknown = false;                            // a run of unknown characters is one token
  bool ignore_merges = false;                           // a word that is a token is that token, merges or not

  bool byte_level = false;   // vocabulary over names of bytes; otherwise over characters, with U+2581 for a space and tokens for bytes
  bool nfc = false;          // text is normalized to Unicode's NFC
  bool mark_spaces = false;  // the normalizer, not the pre-tokenizer, writes U+2581 for a space
  bool split_words = false;  // every space starts a word
  Prefix prefix = Prefix::none;
  std::vector<std::string> patterns;  // byte_level: cut the text one after another
  std::string put_before;             // the token that the post-processor puts before a text; empty: none
};

TokenizerFile read_tokenizer_file(std::string_view json);  // throws Error(data)
int64_t number_of_ids(TokenizerFile const& file);          // the largest and one more

}  // namespace isobath
