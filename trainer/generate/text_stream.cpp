#include "trainer/generate/text_stream.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"

namespace isobath {

TextStream::TextStream(std::vector<std::string> stop_strings) : stop_strings_(std::move(stop_strings)) {
  for (std::string const& stop : stop_strings_) {
    if (stop.empty()) throw Error(ExitCode::config, "a stop string is empty: text would stop before it begins");
    // Shown text is well-formed UTF-8, so an invalid stop string would never occur in it.
    size_t const valid = utf8_prefix(stop);
    if (valid < stop.size()) {
      throw Error(ExitCode::config, "a stop string is not UTF-8: its byte " + std::to_string(valid + 1) + " belongs to no character");
    }
  }
}

std::string TextStream::add(std::string_view piece_bytes) {
  bytes_ += piece_bytes;
  return show(/*last=*/false);
}

std::string TextStream::finish() { return show(/*last=*/true); }

std::string TextStream::show(bool last) {
  if (stopped_) return "";
  std::string_view rest = bytes_;
  while (!rest.empty()) {
    size_t length = utf8_length(rest);
    if (length > 0) {
      text_ += rest.substr(0, length);
    } else {
      length = utf8_beginning(rest);
      if (length == rest.size() && !last) break;
      text_ += "\ufffd";
    }
    rest.remove_prefix(std::max<size_t>(1, length));
  }
  bytes_ = std::string(rest);

  size_t shown = text_.size(), stop_end = std::string::npos;
  for (std::string const& stop : stop_strings_) {
    size_t const begin = text_.find(stop);
    if (begin == std::string::npos || begin + stop.size() > stop_end) continue;
    shown = begin + stop.size() < stop_end ? begin : std::min(shown, begin);
    stop_end = begin + stop.size();
    stopped_ = true;
  }
  if (!stopped_ && !last) {
    for (std::string_view const stop : stop_strings_) {
      size_t length = std::min(stop.size() - 1, text_.size());
      while (!text_.ends_with(stop.substr(0, length))) --length;
      shown = std::min(shown, text_.size() - length);
    }
  }
  std::string const out = text_.substr(0, shown);
  text_.erase(0, shown);
  return out;
}

}  // namespace isobath
