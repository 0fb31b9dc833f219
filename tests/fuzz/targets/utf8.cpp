// UTF-8, held against another implementation; text that comes in parts.
#include "core/utf8.h"

#include <utf8proc.h>

#include "tests/fuzz/target.h"
#include "trainer/generate/text_stream.h"

namespace {

std::string in_parts(std::string_view input, size_t length) {
  isobath::TextStream stream({"stop", "\xc3\xa9nd"});
  std::string text;
  for (; !input.empty(); input.remove_prefix(std::min(length, input.size()))) text += stream.add(input.substr(0, length));
  return text + stream.finish();
}

}  // namespace

void isobath::fuzz::read(std::string_view input) {
  for (std::string_view rest = input; !rest.empty(); rest.remove_prefix(1)) {
    utf8proc_int32_t character = 0;
    auto const length =
        utf8proc_iterate(reinterpret_cast<utf8proc_uint8_t const*>(rest.data()), static_cast<utf8proc_ssize_t>(rest.size()), &character);
    require(utf8_length(rest) == static_cast<size_t>(std::max<utf8proc_ssize_t>(length, 0)), "the length of a character");
    require(utf8_beginning(rest) >= utf8_length(rest), "a character begins with itself");
  }
  if (input.size() > 1) require(utf8_cut(input, input.size() / 2) <= input.size() / 2, "a cut is not behind its limit");
  std::string const whole = in_parts(input, input.size());
  require(utf8_prefix(whole) == whole.size(), "shown text is UTF-8");
  require(in_parts(input, 1) == whole && in_parts(input, 3) == whole, "shown text does not depend on its parts");
}
