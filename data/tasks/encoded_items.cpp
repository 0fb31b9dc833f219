#include "data/tasks/encoded_items.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace isobath {
namespace {

// What Python's str.rstrip() takes away beyond ASCII.
constexpr std::array<std::string_view, 19> wide_spaces{"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
                                                       "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
                                                       "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
                                                       "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};

size_t length_without_space(std::string_view text) {
  constexpr std::string_view ascii = " \t\n\v\f\r\x1c\x1d\x1e\x1f";
  for (size_t before = text.size() + 1; text.size() < before;) {
    before = text.size();
    text = text.substr(0, text.find_last_not_of(ascii) + 1);
    for (std::string_view const space : wide_spaces)
      if (text.ends_with(space)) text.remove_suffix(space.size());
  }
  return text.size();
}

}  // namespace

EncodedOption encode_option(TaskOption const& option, Tokenizer const& tokenizer, int64_t most_tokens) {
  std::string const whole = option.context + option.continuation;
  size_t const border = length_without_space(option.context);
  std::vector<int32_t> const all = with_text_start(tokenizer, tokenizer.encode(whole));
  EncodedOption encoded;
  size_t behind = 0;  // tokens of `all` that belong to the context
  if (border > 0) {
    encoded.context = with_text_start(tokenizer, tokenizer.encode(std::string_view(whole).substr(0, border)));
    behind = std::min(encoded.context.size(), all.size());  // a piece across the border may leave nothing behind it
  } else {
    encoded.context = {tokenizer.text_start()};
    behind = !all.empty() && all.front() == tokenizer.text_start() ? 1 : 0;
  }
  encoded.continuation.assign(all.begin() + static_cast<std::ptrdiff_t>(behind), all.end());

  auto const total = std::ssize(encoded.context) + std::ssize(encoded.continuation);
  int64_t const not_read = encoded.continuation.empty() ? 0 : 1;  // the last token of the continuation
  encoded.cut = std::max<int64_t>(total - most_tokens - not_read, 0);
  // The context keeps one token at least, which may then be the continuation's first.
  auto const of_context = std::min<int64_t>(encoded.cut, std::ssize(encoded.context)), more = encoded.cut - of_context;
  encoded.context.erase(encoded.context.begin(), encoded.context.begin() + of_context);
  encoded.continuation.erase(encoded.continuation.begin(), encoded.continuation.begin() + more);
  if (encoded.context.empty()) {
    encoded.context.push_back(encoded.continuation.front());
    encoded.continuation.erase(encoded.continuation.begin());
  }
  return encoded;
}

}  // namespace isobath
