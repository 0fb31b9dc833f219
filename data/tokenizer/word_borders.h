#pragma once
// Where words end, so that no piece of a vocabulary reaches over a border: joining the encodings of words is then exact.

#include <string_view>

namespace isobath {

class WordBorders {
 public:
  // A border between two neighbouring bytes: before a run of spaces, after a run of newlines, between letters and other ASCII.
  bool between(char before, char after) const {
    if (after == ' ') return spaces_ && before != ' ';
    if (before == ' ') return false;
    if (before == '\n' && after != '\n') return newlines_;
    return letters_ && is_ascii(before) && is_ascii(after) && is_letter(before) != is_letter(after);
  }
  // Gives up the kinds of border that `piece` reaches over.
  void respect(std::string_view piece) {
    for (size_t i = 1; i < piece.size(); ++i) {
      char const before = piece[i - 1], after = piece[i];
      if (!between(before, after)) continue;
      (after == ' ' ? spaces_ : before == '\n' ? newlines_ : letters_) = false;
    }
  }

 private:
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
  static bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
  bool spaces_ = true, newlines_ = true, letters_ = true;
};

}  // namespace isobath
