#include "config/problems.h"

#include <algorithm>
#include <tuple>

#include "core/error.h"

namespace isobath {
namespace {

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

size_t characters(std::string_view bytes) {
  return static_cast<size_t>(std::count_if(bytes.begin(), bytes.end(), [](char c) { return !continues_character(c); }));
}

}  // namespace

std::string Place::text() const {
  if (!source) return "config";
  if (!source->numbered) return source->label;
  auto const row = static_cast<size_t>(line - 1);
  std::string_view const before = row < source->lines.size() ? std::string_view(source->lines[row]) : std::string_view();
  size_t const shown = characters(before.substr(0, static_cast<size_t>(column - 1)));
  // Past the end of the line there is nothing to count.
  size_t const beyond = static_cast<size_t>(column - 1) > before.size() ? static_cast<size_t>(column - 1) - before.size() : 0;
  return source->label + ":" + std::to_string(line) + ":" + std::to_string(shown + beyond + 1);
}

void Problems::add(Place const& place, std::string const& message) {
  if (is_plenty()) {
    ++not_kept_;
    return;
  }
  std::string text = place.source ? place.text() + ": error: " + message : message;
  auto const row = static_cast<size_t>(place.line - 1);
  if (place.source && row < place.source->lines.size()) {
    constexpr size_t shown_bytes = 160;  // a file of one endless line must not fill the screen
    std::string line = place.source->lines[row];
    size_t column = std::min(static_cast<size_t>(place.column - 1), line.size());
    if (line.size() > shown_bytes) {
      size_t from = column > shown_bytes / 2 ? column - shown_bytes / 2 : 0;
      while (from > 0 && continues_character(line[from])) --from;
      size_t to = std::min(from + shown_bytes, line.size());
      while (to < line.size() && continues_character(line[to])) ++to;
      line = line.substr(from, to - from);
      column -= from;
    }
    std::replace(line.begin(), line.end(), '\t', ' ');
    text += "\n  " + line + "\n  " + std::string(characters(std::string_view(line).substr(0, column)), ' ') + "^";
  }
  if (known_.insert(text).second) found_.push_back({place, std::move(text)});
}

std::vector<std::string> Problems::sorted() const {
  // Files in the order they were read, and inside a file from top to bottom.
  std::vector<Source const*> sources;
  auto const rank = [&](Found const& found) {
    auto const at = std::find(sources.begin(), sources.end(), found.place.source.get());
    return at - sources.begin();
  };
  for (Found const& found : found_) {
    if (rank(found) == static_cast<std::ptrdiff_t>(sources.size())) sources.push_back(found.place.source.get());
  }
  std::vector<Found> ordered = found_;
  std::stable_sort(ordered.begin(), ordered.end(), [&](Found const& a, Found const& b) {
    return std::tuple(rank(a), a.place.line, a.place.column) < std::tuple(rank(b), b.place.line, b.place.column);
  });
  std::vector<std::string> texts;
  for (size_t i = 0; i < std::min(ordered.size(), most_shown); ++i) texts.push_back(std::move(ordered[i].text));
  if (is_plenty()) texts.push_back("and " + std::to_string(ordered.size() - most_shown + not_kept_) + " more problems");
  return texts;
}

void Problems::throw_if_any() const {
  if (!empty()) throw ConfigError(sorted());
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    size_t const end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace isobath
