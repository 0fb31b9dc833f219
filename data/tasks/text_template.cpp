#include "data/tasks/text_template.h"

#include <algorithm>

#include "core/error.h"

namespace isobath {
namespace {

std::string trimmed(std::string_view text) {
  constexpr std::string_view spaces = " \t\r\n";
  size_t const first = text.find_first_not_of(spaces);
  return first == std::string_view::npos ? "" : std::string(text.substr(first, text.find_last_not_of(spaces) - first + 1));
}

std::string filtered(std::string const& text, std::string const& filter, std::string const& argument) {
  if (filter == "trim") return trimmed(text);
  size_t const at = text.find(argument);
  if (filter == "before") return text.substr(0, at);
  return at == std::string::npos ? "" : text.substr(at + argument.size());
}

}  // namespace

TextTemplate::TextTemplate(std::string_view text) {
  std::string plain;
  auto const end_plain = [&] {
    if (!plain.empty()) parts_.push_back({std::move(plain), {}, {}});
    plain.clear();
  };
  for (size_t at = 0; at < text.size(); ++at) {
    char const c = text[at];
    if (c != '{' && c != '}') {
      plain += c;
    } else if (at + 1 < text.size() && text[at + 1] == c) {
      plain += text[++at];
    } else if (c == '}') {
      throw Error(ExitCode::config, "a '}' without its '{' (a brace itself is written twice)");
    } else {
      size_t const close = text.find('}', at);
      if (close == std::string_view::npos) throw Error(ExitCode::config, "a '{' without its '}' (a brace itself is written twice)");
      end_plain();
      parts_.push_back(parse_field(text.substr(at + 1, close - at - 1)));
      at = close;
    }
  }
  end_plain();
}

TextTemplate::Part TextTemplate::parse_field(std::string_view inside) {
  Part part;
  for (size_t begin = 0; begin <= inside.size();) {
    size_t const end = std::min(inside.find('|', begin), inside.size());
    std::string_view const word = inside.substr(begin, end - begin);
    if (begin == 0) {
      part.field = trimmed(word);
      if (part.field.empty()) throw Error(ExitCode::config, "'{" + std::string(inside) + "}' names no field");
    } else {
      size_t const space = word.find(' ');
      Filter filter{std::string(word.substr(0, space)), space == std::string_view::npos ? "" : std::string(word.substr(space + 1))};
      bool const cuts = (filter.name == "before" || filter.name == "after") && !filter.argument.empty();
      if (!cuts && !(filter.name == "trim" && filter.argument.empty()))
        throw Error(ExitCode::config, "'" + std::string(word) + "' in '{" + std::string(inside) +
                                          "}' is no filter (before X, after X, trim; an X of one or more characters)");
      part.filters.push_back(std::move(filter));
    }
    begin = end + 1;
  }
  return part;
}

std::string TextTemplate::fill(std::function<std::string(std::string const&)> const& value) const {
  std::string text;
  for (Part const& part : parts_) {
    std::string piece = part.field.empty() ? part.text : value(part.field);
    for (Filter const& filter : part.filters) piece = filtered(piece, filter.name, filter.argument);
    text += piece;
  }
  return text;
}

std::vector<std::string> TextTemplate::fields() const {
  std::vector<std::string> names;
  for (Part const& part : parts_)
    if (!part.field.empty()) names.push_back(part.field);
  return names;
}

}  // namespace isobath
