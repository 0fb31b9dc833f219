#pragma once
// The UTF-8 functions that tokenizers and text output need.

#include <cstddef>
#include <string_view>

namespace isobath {

// Length in bytes of the well-formed character at the start of `text` (no overlong forms, surrogates or values past U+10FFFF); 0 when there
// is none.
inline size_t utf8_length(std::string_view text) {
  auto const byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  auto const tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  unsigned const first = byte(0), second = byte(1);
  if (text.empty()) return 0;
  if (first < 0x80) return 1;
  if (first < 0xC2 || !tail(1)) return 0;
  if (first < 0xE0) return 2;
  if (!tail(2)) return 0;
  if (first < 0xF0) return (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ? 0 : 3;
  if (first > 0xF4 || !tail(3)) return 0;
  return (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F) ? 0 : 4;
}

// Number of bytes at the start of `text` that are a well-formed character or the beginning of one (Unicode's "maximal subpart" when the
// character is incomplete); 0 when the first byte begins none.
inline size_t utf8_beginning(std::string_view text) {
  if (text.empty()) return 0;
  unsigned const first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  size_t const length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80, high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  size_t found = 1;
  for (; found < length && found < text.size(); ++found) {
    unsigned const byte = static_cast<unsigned char>(text[found]);
    if (byte < low || byte > high) break;
    low = 0x80;
    high = 0xBF;
  }
  return found;
}

// Length in bytes of the longest prefix of `text` that is well-formed UTF-8.
inline size_t utf8_prefix(std::string_view text) {
  size_t valid = 0;
  while (size_t const length = utf8_length(text.substr(valid))) valid += length;
  return valid;
}

// Length in bytes of the byte order mark at the start of `text`: 3, or 0 when there is none.
inline size_t byte_order_mark(std::string_view text) { return text.starts_with("\xef\xbb\xbf") ? 3 : 0; }

// The largest cut <= limit that does not fall inside a well-formed character. limit < text.size().
inline size_t utf8_cut(std::string_view text, size_t limit) {
  size_t cut = limit;
  while (cut > 0 && limit - cut < 3 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  return cut == 0 ? limit : cut;
}

}  // namespace isobath
