#pragma once
// Turns the bytes of generated tokens into text that can be shown during generation, up to a stop string.

#include <string>
#include <string_view>
#include <vector>

namespace isobath {

// The text that all calls together return depends on the bytes alone, not on how they were divided among calls.
class TextStream {
 public:
  explicit TextStream(std::vector<std::string> stop_strings);  // throws Error(config) for one that is empty or not UTF-8

  // Adds bytes and returns the text that may be shown now. Invalid UTF-8 becomes U+FFFD, one per maximal subpart (the Unicode standard,
  // 3.9). An incomplete character and the possible beginning of a stop string are held back.
  std::string add(std::string_view piece_bytes);
  std::string finish();  // returns what was held back: no bytes follow
  // Whether a stop string has ended the text. The one that is complete first counts (of several that end at the same byte, the longest);
  // nothing from its first byte on is shown.
  bool stopped() const { return stopped_; }

 private:
  std::string show(bool last);

  std::vector<std::string> stop_strings_;
  std::string bytes_;  // an incomplete character
  std::string text_;   // a possible beginning of a stop string
  bool stopped_ = false;
};

}  // namespace isobath
