#include "data/sources/json_rows.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "core/json_nesting.h"

namespace isobath {
namespace {

using Json = nlohmann::json;

constexpr char const* space = " \t\r\n";

bool is_one_of(int c, std::string_view set) {
  return c != CharacterReader::end && set.find(static_cast<char>(c)) != std::string_view::npos;
}

// "a number", "null"
std::string type_of(Json const& value) {
  if (value.is_null()) return "null";
  if (value.is_string()) return "a text";
  std::string const name = value.type_name();
  return (name[0] == 'a' || name[0] == 'o' ? "an " : "a ") + name;
}

// The word or number at `at`, as other programs write what JSON lacks: NaN, None, -Infinity.
std::string word_at(std::string_view text, size_t at) {
  auto const is_part = [&](size_t i) {
    return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) || is_one_of(text[i], "-+._"));
  };
  size_t begin = at, end = at;
  while (begin > 0 && is_part(begin - 1)) --begin;
  while (is_part(end)) ++end;
  return std::string(text.substr(begin, end - begin));
}

// Why `text` is no JSON, in words that help, where the parser stopped at its byte `at`.
std::string why_no_json(std::string_view text, size_t at, std::string const& parser) {
  if (at < text.size()) {
    size_t const before = at == 0 ? std::string_view::npos : text.find_last_not_of(space, at - 1);
    if ((text[at] == '}' || text[at] == ']') && before != std::string_view::npos && text[before] == ',')
      return std::string("a comma before '") + text[at] + "'";
    if (text[at] == '\'') return "text in single quotes, where JSON has double ones";
    static std::set<std::string> const foreign{"NaN", "nan", "Infinity", "-Infinity", "inf", "-inf", "None", "True", "False", "undefined"};
    if (std::string const word = word_at(text, at); foreign.contains(word)) return word + " is no JSON value";
  }
  // "[json.exception.parse_error.101] parse error at line 1, column 9: syntax error while parsing value - REASON; last read: 'TEXT';
  // expected ..."
  size_t const begin = parser.find(" - "), end = parser.find("; last read: ");
  if (begin == std::string::npos) return parser.substr(parser.find("] ") + 2);
  size_t const expected = parser.rfind("; expected ");
  return parser.substr(begin + 3, end - begin - 3) +
         (expected == std::string::npos || end == std::string::npos ? "" : parser.substr(expected));
}

int64_t characters(std::string_view bytes) {
  return std::count_if(bytes.begin(), bytes.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

// Parses one JSON object. `line` and `column` say where in the file `text` begins; they are for error messages.
JsonRow parse_row(std::string_view text, fs::path const& path, int64_t line, int64_t column) {
  JsonRow row{{}, line, path.string() + ":" + std::to_string(line) + (column > 1 ? ":" + std::to_string(column) : "")};
  if (nests_too_deep(text)) row.fail("this row nests more than " + std::to_string(deepest_json) + " levels deep");
  try {
    row.values = Json::parse(text);
  } catch (Json::parse_error const& error) {
    size_t const at = std::min(error.byte == 0 ? 0 : error.byte - 1, text.size());
    std::string_view const before = text.substr(0, at);
    int64_t const lines = std::count(before.begin(), before.end(), '\n');
    int64_t const in_line = characters(before.substr(lines == 0 ? 0 : before.rfind('\n') + 1)) + (lines == 0 ? column : 1);
    throw BadRow(path.string() + ":" + std::to_string(line + lines) + ":" + std::to_string(in_line) +
                 ": not JSON: " + why_no_json(text, at, error.what()));
  } catch (Json::exception const& error) {  // a number that no double can hold
    std::string const what = error.what();
    row.fail("not JSON: " + what.substr(what.find("] ") + 2));
  }
  if (!row.values.is_object()) row.fail("a row is a JSON object ({\"text\": ...}), and this is " + type_of(row.values));
  return row;
}

// JSON Lines are read line by line, so that a broken row does not affect the ones after it. Arrays, and objects that span several lines,
// are divided by matching brackets instead.
bool is_one_a_line(std::string_view beginning) {
  size_t const first = beginning.find_first_not_of(space);
  if (first == std::string_view::npos) return true;
  size_t const after = std::min(beginning.find_first_not_of(" \t\r", first + 1), beginning.size());
  return beginning[first] != '[' && !(beginning[first] == '{' && after < beginning.size() && beginning[after] == '\n');
}

}  // namespace

void JsonRow::fail(std::string const& what) const { throw BadRow(where + ": " + what); }

Json const& JsonRow::at(std::string const& field) const {
  auto const found = values.find(field);
  if (found != values.end()) return *found;
  std::string names;
  for (auto const& [name, value] : values.items()) names += (names.empty() ? "" : ", ") + name;
  fail("no field '" + field + "' in this row, which has: " + (names.empty() ? "nothing" : names));
}

std::string JsonRow::text(std::string const& field) const {
  Json const& value = at(field);
  if (!value.is_string()) fail("field '" + field + "' is " + type_of(value) + ", not a text");
  return value.get<std::string>();
}

std::string JsonRow::text_or_number(std::string const& field) const {
  Json const& value = at(field);
  if (value.is_number()) return value.dump();
  if (!value.is_string()) fail("field '" + field + "' is " + type_of(value) + ", where a text or a number is needed");
  return value.get<std::string>();
}

std::vector<std::string> JsonRow::texts(std::string const& field) const {
  Json const& value = at(field);
  if (!value.is_array()) fail("field '" + field + "' is " + type_of(value) + ", where a list of texts is needed");
  std::vector<std::string> items;
  for (Json const& item : value) {
    if (!item.is_string()) fail("field '" + field + "': item " + std::to_string(items.size()) + " is " + type_of(item) + ", not a text");
    items.push_back(item.get<std::string>());
  }
  return items;
}

int64_t JsonRow::index(std::string const& field, int64_t below) const {
  Json const& value = at(field);
  std::string const allowed =
      " (a whole number from 0 to " + std::to_string(below - 1) + ", for there are " + std::to_string(below) + " options)";
  if (!value.is_number_integer()) fail("field '" + field + "' is " + (value.is_number() ? value.dump() : type_of(value)) + allowed);
  auto const index = value.get<int64_t>();
  if (index < 0 || index >= below) fail("field '" + field + "' is " + value.dump() + ", out of range" + allowed);
  return index;
}

bool is_named_as_rows(fs::path const& path) {
  std::string const extension = lower_extension(without_packing(path));
  return extension == ".jsonl" || extension == ".ndjson" || extension == ".jsonlines" || extension == ".json";
}

JsonRowReader::JsonRowReader(TextFile& file, fs::path path)
    : path_(std::move(path)), one_a_line_(is_one_a_line(file.beginning())), lines_(file), characters_(file) {
  file.refuse_what_is_no_text();
}

bool JsonRowReader::next(JsonRow& row) {
  std::string text;
  if (!one_a_line_) {
    if (!next_value(text)) return false;
    ++values_;
    row = parse_row(text, path_, line_, column_);
    row.line = values_;
    return true;
  }
  while (lines_.next(text)) {
    if (text.find_first_not_of(space) == std::string::npos) continue;
    row = parse_row(text, path_, lines_.number(), 1);
    return true;
  }
  return false;
}

void JsonRowReader::skip_space() {
  while (is_one_of(characters_.peek(), space)) characters_.get();
}

void JsonRowReader::fail_here(std::string const& what) const {
  throw Error(ExitCode::data,
              path_.string() + ":" + std::to_string(characters_.line()) + ":" + std::to_string(characters_.column()) + ": " + what);
}

// Reads the characters of the next JSON value of an array or of a sequence of objects, without checking that they are valid JSON. False at
// the end.
bool JsonRowReader::next_value(std::string& value) {
  skip_space();
  if (!begun_ && characters_.peek() == '[') {
    characters_.get();
    in_array_ = true;
    skip_space();
  } else if (begun_ && in_array_ && characters_.peek() == ',') {
    characters_.get();
    skip_space();
    if (characters_.peek() == ']') fail_here("a comma before ']'");
  } else if (begun_ && in_array_ && characters_.peek() != ']' && characters_.peek() != CharacterReader::end) {
    fail_here("a ',' or a ']' is missing between the rows");
  }
  begun_ = true;
  if (in_array_ && characters_.peek() == ']') {
    characters_.get();
    skip_space();
    if (characters_.peek() != CharacterReader::end) fail_here("text behind the end of the array");
    return false;
  }
  if (characters_.peek() == CharacterReader::end) {
    if (in_array_) fail_here("the file ends before its array does (']' is missing)");
    return false;
  }
  line_ = characters_.line();
  column_ = characters_.column();
  int depth = 0;
  bool quoted = false;
  auto const ends = [&](int next) { return next == CharacterReader::end || (depth == 0 && !quoted && is_one_of(next, ",]} \t\r\n")); };
  do {
    auto const c = static_cast<char>(characters_.get());
    value += c;
    if (quoted && c == '\\' && characters_.peek() != CharacterReader::end) {
      value += static_cast<char>(characters_.get());
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted) {
      depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
    }
    if (depth <= 0 && !quoted && (c == '}' || c == ']')) break;
  } while (!ends(characters_.peek()));
  return true;
}

}  // namespace isobath
