#pragma once
// Finds borders between words that no piece of a vocabulary spans, so that text can be encoded word by word with the same result.

#include <string_view>

namespace isobath {

class WordBorders {
 public:
  // Whether there is a border between two neighbouring bytes: before a run of spaces, after a run of newlines, or between an ASCII letter
  // and another ASCII character.
  bool between(char before, char after) const {
    if (after == ' ') return spaces_ && before != ' ';
    if (before == ' ') return false;
    if (before == '\n' && after != '\n') return newlines_;
    return letters_ && is_ascii(before) && is_ascii(after) && is_letter(before) != is_letter(after);
  }
  // Stops using every kind of border that `piece` spans.
  void respect(std::string_view piece) {
    for (size_t i = 1; i < piece.size(); ++i) {
      char const before = piece[i - 1], after = piece[i];
      if (!between(before, after)) continue;
      (after == ' ' ? spaces_ : before == '\n' ? newlines_ : letters_) = false;
    }
  }

  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }  // ASCII

 private:
  static bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
  bool spaces_ = true, newlines_ = true, letters_ = true;
};

}  // namespace isobath
