#include "data/tokenizer/byte_level.h"

#include "core/utf8.h"

namespace isobath {
namespace {

constexpr int codes = 0x144;  // the characters in use are below

int code_of(std::string_view character) {  // of a character of one or two bytes
  int const first = static_cast<unsigned char>(character[0]);
  return first < 0x80 ? first : (first & 0x1F) << 6 | (static_cast<unsigned char>(character[1]) & 0x3F);
}

std::array<int, codes> bytes_of_codes() {
  std::array<int, codes> bytes;
  bytes.fill(-1);
  for (size_t byte = 0; byte < 256; ++byte) bytes[static_cast<size_t>(code_of(byte_level_names()[byte]))] = static_cast<int>(byte);
  return bytes;
}

}  // namespace

std::array<std::string, 256> const& byte_level_names() {
  static std::array<std::string, 256> const names = [] {
    std::array<std::string, 256> made;
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      bool const printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      int const code = printable ? byte : next++;
      made[static_cast<size_t>(byte)] = code < 0x80
                                            ? std::string(1, static_cast<char>(code))
                                            : std::string{static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
    }
    return made;
  }();
  return names;
}

std::optional<std::string> byte_level_bytes(std::string_view names) {
  static std::array<int, codes> const bytes = bytes_of_codes();
  std::string result;
  for (size_t length = 0; !names.empty(); names.remove_prefix(length)) {
    length = utf8_length(names);
    if (length == 0 || length > 2) return std::nullopt;
    int const code = code_of(names);
    if (code >= codes || bytes[static_cast<size_t>(code)] < 0) return std::nullopt;
    result += static_cast<char>(bytes[static_cast<size_t>(code)]);
  }
  return result;
}

}  // namespace isobath
