// Faults generated from the table of keys: every key misspelt by one edit, every value replaced by one that it cannot take. The message
// names the key at its place.

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <set>

#include "config/fields.h"
#include "config/values.h"
#include "tests/fast/config_folder.h"

using namespace isobath;

namespace {

// The words that differ from `word` by one letter left out, doubled, replaced or put in, or by two that changed places.
std::set<std::string> one_edit_away(std::string const& word) {
  std::set<std::string> edits;
  for (size_t i = 0; i < word.size(); ++i) {
    std::string const before = word.substr(0, i), after = word.substr(i + 1);
    edits.insert(before + after);
    edits.insert(before + word[i] + word[i] + after);
    edits.insert(before + "x" + after);
    edits.insert(before + "q" + word[i] + after);
    if (i + 1 < word.size()) edits.insert(before + word[i + 1] + word[i] + word.substr(i + 2));
  }
  edits.erase(word);
  edits.erase("");
  return edits;
}

bool is_duration(Field const& field) { return field.kind == Kind::duration || field.kind == Kind::duration_list; }
bool is_text(Field const& field) { return field.kind == Kind::text || field.kind == Kind::text_list; }
bool is_list(Field const& field) {
  return field.kind == Kind::duration_list || field.kind == Kind::text_list || field.kind == Kind::integer_list ||
         field.kind == Kind::real_list || field.kind == Kind::fraction_list;
}
bool is_whole(Field const& field) { return field.kind == Kind::integer || field.kind == Kind::count || field.kind == Kind::integer_list; }

std::string number_text(Field const& field, double value) {
  return is_whole(field) ? std::to_string(static_cast<int64_t>(value)) : format_real(value);
}

// Numbers outside of the range of a field, nearest first.
std::vector<std::string> out_of_range(Field const& field) {
  std::vector<std::string> values;
  auto const beyond = [&](double border, bool border_is_out, int direction) {
    if (border_is_out) return number_text(field, border);
    if (is_whole(field)) return std::to_string(static_cast<int64_t>(border) + direction);
    return format_real(std::nextafter(border, direction * INFINITY));
  };
  if (std::isfinite(field.min)) values.push_back(beyond(field.min, field.above_min, -1));
  if (std::isfinite(field.max)) values.push_back(beyond(field.max, field.below_max, 1));
  std::string const unit =
      is_duration(field)
          ? std::string(unit_example(field.units.front())).substr(unit_example(field.units.front()).find_first_not_of("0123456789.eKMG"))
          : "";
  for (std::string& value : values) value += field.kind == Kind::percent ? "" : unit;
  if (field.kind == Kind::percent) values = {"-1%", "100.1%"};
  std::erase_if(values, [&](std::string const& value) { return value == "0" && !field.zero_word.empty(); });
  return values;
}

// YAML that a key cannot take.
std::vector<std::string> impossible_values(Field const& field) {
  std::vector<std::string> values{"{a: 1}", "[[1]]", "~"};
  if (!is_list(field)) values.insert(values.end(), {"[a]", "[]"});
  if (!field.may_be_empty) values.push_back("\"\"");
  if (is_text(field)) return values;
  values.insert(values.end(), {"\"\"", "qqq", ".nan", "-.inf", "nan", "[.nan]", "5parsec", "1e999", "1_000", "0x10", "010", "\"1\\0\""});
  if (field.kind == Kind::boolean) values.insert(values.end(), {"yes", "1", "True"});
  if (field.kind == Kind::choice) values.insert(values.end(), {"1", field.choices.front() + "q", "true"});
  if (is_whole(field)) values.insert(values.end(), {"1.5", "10%", "500step", "true", "99999999999999999999999999"});
  if (field.kind == Kind::real || field.kind == Kind::real_list) values.insert(values.end(), {"1Ki", "10%", "5step"});
  if (field.kind == Kind::fraction || field.kind == Kind::fraction_list) values.insert(values.end(), {"101%", "5step", "-10%"});
  if (field.kind == Kind::percent) values.insert(values.end(), {"0.1", "101%", "5step"});
  if (is_duration(field)) {
    values.insert(values.end(), {"5", "-5step", "1.5step", "-1s", "nanstep", "infs", "101%"});
    for (Unit const unit : {Unit::step, Unit::token, Unit::flop, Unit::epoch, Unit::percent, Unit::second})
      if (std::find(field.units.begin(), field.units.end(), unit) == field.units.end()) values.push_back(unit_example(unit));
  }
  if (field.kind != Kind::boolean && field.kind != Kind::choice)
    for (std::string const& value : out_of_range(field)) values.push_back(is_list(field) ? "[" + value + "]" : value);
  return values;
}

// A value of the key at the border of what is allowed, or far out.
std::vector<std::string> extreme_values(Field const& field) {
  switch (field.kind) {
    case Kind::boolean:
      return {"true", "false"};
    case Kind::choice:
      return field.choices;
    case Kind::text:
      return {"x", std::string(10000, 'x')};
    case Kind::text_list:
      return {"[x]", "[" + std::string(10000, 'x') + "]"};
    case Kind::duration:
    case Kind::duration_list: {
      std::vector<std::string> values;
      for (Unit const unit : field.units) {
        std::string const example = unit_example(unit), suffix = example.substr(example.find_first_not_of("0123456789.e"));
        for (char const* amount : {"1", "9007199254740992"}) values.push_back(amount + suffix.substr(suffix.find_first_not_of("MG")));
      }
      for (std::string& value : values)
        if (field.kind == Kind::duration_list) value = "[" + value + "]";
      return values;
    }
    default:
      break;
  }
  std::vector<std::string> values;
  if (std::isfinite(field.min)) values.push_back(number_text(field, field.above_min ? std::nextafter(field.min, INFINITY) : field.min));
  values.push_back(number_text(field, !std::isfinite(field.max) ? (is_whole(field) ? 9e18 : 1.7e308)
                                      : field.below_max         ? std::nextafter(field.max, -INFINITY)
                                                                : field.max));
  for (std::string& value : values) {
    if (field.kind == Kind::percent) value = value == "0" ? "0%" : "100%";
    if (is_list(field)) value = "[" + value + "]";
  }
  return values;
}

// A key in its sections, a line each, and where it stands.
struct Written {
  std::string yaml;
  std::string place;  // of the value: "x.yaml:3:9: error: "
};

Written write(std::string const& path, std::string const& value) {
  std::string yaml, rest = path;
  int depth = 0;
  for (size_t dot; (dot = rest.find('.')) != std::string::npos; rest = rest.substr(dot + 1), ++depth)
    yaml += std::string(2 * static_cast<size_t>(depth), ' ') + rest.substr(0, dot) + ":\n";
  size_t const column = 2 * static_cast<size_t>(depth) + rest.size() + 3;
  bool const null = value == "~";  // points at the key
  return {yaml + std::string(2 * static_cast<size_t>(depth), ' ') + rest + ": " + value + "\n",
          "x.yaml:" + std::to_string(depth + 1) + ":" + std::to_string(null ? 2 * depth + 1 : static_cast<int>(column)) + ": error: "};
}

// Places inside of the value are fine.
bool stands_at(std::string const& problem, std::string const& place) {
  std::string const line = place.substr(0, place.find(':', place.find(':') + 1) + 1);  // "x.yaml:3:"
  if (!problem.starts_with(line)) return false;
  int const column = std::stoi(problem.substr(line.size())), expected = std::stoi(place.substr(line.size()));
  return column >= expected && column <= expected + 2;
}

}  // namespace

TEST_CASE("every key misspelt by one edit is refused at its place, with the name that was meant") {
  ConfigFolder const folder;
  size_t misspelt = 0, not_suggested = 0;
  for (ConfigField const& field : config_fields()) {
    std::string const section(section_of(field.path)), last = field.path.substr(field.path.rfind('.') + 1);
    std::string const prefix = field.path.substr(0, field.path.size() - last.size());
    std::vector<std::string> paths;
    std::string yaml;
    for (std::string const& word : one_edit_away(last)) {
      if (find_field(prefix + word) || is_section(prefix + word)) continue;
      paths.push_back(prefix + word);
      yaml += paths.back() + ": 1\n";
    }
    auto const found = folder.problems(yaml);
    INFO(field.path);
    REQUIRE(found.size() == std::min<size_t>(paths.size(), 101));  // more are counted
    for (size_t i = 0; i < std::min<size_t>(paths.size(), 100); ++i) {
      INFO(found[i]);
      CHECK(found[i].starts_with("x.yaml:" + std::to_string(i + 1) + ":1: error: unknown key '" + paths[i] + "'"));
      ++misspelt;
      bool const meant = found[i].find("'" + last + "'") != std::string::npos ||
                         found[i].find("'" + field.path + "'") != std::string::npos ||
                         found[i].find("here it is " + field.path) != std::string::npos;
      not_suggested += !meant;
    }
  }
  CAPTURE(misspelt, not_suggested);
  CHECK(misspelt > 5000);
  CHECK(not_suggested == 0);
}

TEST_CASE("every value that a key cannot take is refused at its place, under the key's name") {
  ConfigFolder const folder;
  size_t faults = 0;
  for (ConfigField const& field : config_fields()) {
    for (std::string const& value : impossible_values(field)) {
      auto const [yaml, place] = write(field.path, value);
      auto const found = folder.problems(yaml);
      INFO(yaml);
      for (std::string const& problem : found) UNSCOPED_INFO(problem);
      ++faults;
      CHECK(found.size() == 1);
      if (found.size() != 1) continue;
      CHECK(stands_at(found[0], place));
      CHECK(found[0].find(": error: " + field.path + ": ") != std::string::npos);
    }
  }
  CAPTURE(faults);
  CHECK(faults > 2500);
}

TEST_CASE("values on the command line and in arms are held to what those of a file are held to") {
  ConfigFolder const folder;
  for (ConfigField const& field : config_fields()) {
    for (std::string const& value : impossible_values(field)) {
      bool const words = is_text(field) || field.kind == Kind::choice;  // taken as they are
      INFO(field.path << "=" << value);
      if (!words) {
        auto const found = folder.problems("", {field.path + "=" + value});
        CHECK(found.size() == 1);
        CHECK((!found.empty() && found[0].starts_with("command line: error: " + field.path + ": ")));
      }
      if (!arm_may_set(field.path)) continue;
      std::string const start = "    a: {set: {" + field.path + ": ";
      auto const found = folder.problems("compare:\n  arms:\n    b: {}\n" + start + value + "}}\n");
      for (std::string const& problem : found) UNSCOPED_INFO(problem);
      CHECK(found.size() == 1);
      CHECK((!found.empty() && found[0].starts_with("x.yaml:4:") && found[0].find(field.path) != std::string::npos));
    }
  }
}

TEST_CASE("values at the border of what is allowed load and read back, or are refused at their place") {
  ConfigFolder const folder;
  size_t loads = 0;
  for (ConfigField const& field : config_fields()) {
    for (std::string const& value : extreme_values(field)) {
      auto const [yaml, place] = write(field.path, value);
      INFO(yaml.substr(0, 200));
      auto const found = folder.problems(yaml);
      for (std::string const& problem : found) {
        INFO(problem.substr(0, 400));
        CHECK(stands_at(problem, place));
      }
      if (!found.empty()) continue;
      std::string const printed = to_yaml(folder.load(yaml).config);
      CHECK(to_yaml(folder.load(printed).config) == printed);
      ++loads;
    }
  }
  CHECK(loads > 200);
}

TEST_CASE("keys of an arm's own and of its match, misspelt and with impossible values") {
  ConfigFolder const folder;
  auto const check = [&](Field const& field, std::string const& yaml, std::string const& place) {
    std::string const indent(std::stoul(place.substr(place.rfind(':') + 1)) - 1, ' ');
    for (std::string const& word : one_edit_away(field.path)) {
      auto const found = folder.problems(yaml + indent + word + ": 1\n");
      INFO(word);
      CHECK((!found.empty() && found[0].starts_with(place + ": error: unknown key ") && found[0].find(word) != std::string::npos));
      CHECK((!found.empty() && found[0].find("'" + field.path + "'") != std::string::npos));
    }
    for (std::string const& value : impossible_values(field)) {
      auto const found = folder.problems(yaml + indent + field.path + ": " + value + "\n");
      INFO(field.path << ": " << value);
      CHECK((!found.empty() && found[0].starts_with(place.substr(0, place.rfind(':') + 1)) &&
             found[0].find(field.path) != std::string::npos));
    }
  };
  for (MatchField const& field : match_fields()) check(field, "compare:\n  arms:\n    b: {}\n    a:\n      match:\n", "x.yaml:6:9");
  for (ArmField const& field : arm_fields()) check(field, "compare:\n  arms:\n    b: {}\n    a:\n", "x.yaml:5:7");
}
