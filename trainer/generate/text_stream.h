#pragma once
// The bytes of generated tokens as text that can be shown while it comes, up to a stop string.

#include <string>
#include <string_view>
#include <vector>

namespace isobath {

// What all calls together give depends on the bytes alone, not on how they were cut into pieces.
class TextStream {
 public:
  explicit TextStream(std::vector<std::string> stop_strings);  // throws Error(config) for one that is empty or not UTF-8

  // What may be shown now: whole characters that belong to no stop string. Bytes that are no UTF-8 come as U+FFFD, one a maximal subpart
  // (the Unicode standard, 3.9); an incomplete character and a possible beginning of a stop string wait.
  std::string add(std::string_view piece_bytes);
  std::string finish();  // what waited, now that nothing follows
  // The first stop string to complete ends the text (of several that complete together, the longest): from its first byte on, nothing is
  // shown.
  bool stopped() const { return stopped_; }

 private:
  std::string show(bool last);

  std::vector<std::string> stop_strings_;
  std::string bytes_;  // an incomplete character
  std::string text_;   // a possible beginning of a stop string
  bool stopped_ = false;
};

}  // namespace isobath
