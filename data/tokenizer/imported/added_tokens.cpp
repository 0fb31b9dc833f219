#include "data/tokenizer/imported/added_tokens.h"

#include <algorithm>

#include "core/utf8.h"

namespace isobath {
namespace {

// Length of the Unicode white space at the start of `text`; 0 when there is none.
size_t space_length(std::string_view text) {
  if (text.empty()) return 0;
  if (text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r')) return 1;
  for (std::string_view const wide :
       {"\xc2\x85", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"})
    if (text.starts_with(wide)) return wide.size();
  return text.size() > 2 && text.starts_with("\xe2\x80") && static_cast<unsigned char>(text[2]) <= 0x8A ? 3 : 0;  // U+2000 to U+200A
}

size_t without_spaces_at_end(std::string_view text) {
  for (;;) {
    size_t const before = text.size();
    for (size_t const length : {1, 2, 3})
      if (text.size() >= length && space_length(text.substr(text.size() - length)) == length) text.remove_suffix(length);
    if (text.size() == before) return before;
  }
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, bool split_special) : split_special_(split_special), tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](AddedToken const& token) { return token.text.empty(); });
  auto const first = [](AddedToken const& token) { return static_cast<unsigned char>(token.text[0]); };
  std::stable_sort(tokens_.begin(), tokens_.end(), [&](AddedToken const& a, AddedToken const& b) {
    return first(a) != first(b) ? first(a) < first(b) : a.text.size() > b.text.size();
  });
  for (size_t i = 0; i < tokens_.size(); ++i) {
    auto& range = by_first_byte_[first(tokens_[i])];
    if (range.second == 0) range.first = i;
    range.second = i + 1;
  }
}

AddedTokens::Found AddedTokens::find(std::string_view text, size_t from) const {
  if (tokens_.empty()) return {nullptr, text.size(), text.size()};
  for (size_t at = from; at < text.size(); ++at) {
    auto const [begin, end] = by_first_byte_[static_cast<unsigned char>(text[at])];
    for (size_t i = begin; i < end; ++i) {
      AddedToken const& token = tokens_[i];
      if (text.compare(at, token.text.size(), token.text) != 0) continue;
      size_t const behind = at + token.text.size();
      if (split_special_ && token.special) {  // it stays text, all of it
        at = behind - 1;
        break;
      }
      Found found{&token, at, behind};
      if (token.lstrip) found.begin = from + without_spaces_at_end(text.substr(from, at - from));
      if (token.rstrip)
        while (size_t const length = space_length(text.substr(found.end))) found.end += length;
      return found;
    }
  }
  return {nullptr, text.size(), text.size()};
}

}  // namespace isobath
