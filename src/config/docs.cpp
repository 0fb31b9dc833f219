// What people and editors read about the keys: the schema, the key table, --help.

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "config/other_names.h"
#include "config/values.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

constexpr char const* arms_doc =
    "The arms by name: what each sets differently (model, depth and train keys, dotted or nested) and, with match, "
    "whose forward cost it is resized to.";
constexpr char const* size_doc =
    "Sizes of this arm by name, each with keys that it sets on top of the arm's own: {small: {model.layers: 2}}.";
constexpr char const* tuned_doc =
    "Keys that every arm tunes before the comparison, each with a list of values to try; the best setting is kept in tune.json.";
constexpr char const* choice_doc = "By arm: the tuned arm whose choice it takes, {deep: dense}.";
constexpr char const* include_doc = "A YAML file, or a list of them, read first; this file's keys win. Relative to this file.";

// A number as JSON shows it: 4, not 4.0.
Json json_number(double value) {
  if (value == static_cast<double>(static_cast<int64_t>(value))) return static_cast<int64_t>(value);
  return value;
}

void add_range(Field const& field, Json& schema) {
  if (field.min > -1e300) schema[field.above_min ? "exclusiveMinimum" : "minimum"] = json_number(field.min);
  if (field.max < 1e300) schema[field.below_max ? "exclusiveMaximum" : "maximum"] = json_number(field.max);
}

Json number_schema(Field const& field, char const* type) {
  Json schema = {{"type", type}};
  add_range(field, schema);
  return schema;
}

Json duration_schema(Field const& field) {
  std::string units;
  for (Unit const unit : field.units) {
    std::string const example = unit_example(unit);  // "2Mtok": the unit is what follows number and prefix
    units +=
        (units.empty() ? "" : "|") + (unit == Unit::token ? std::string("tok") : example.substr(example.find_last_of("0123456789") + 1));
  }
  return {{"type", "string"}, {"pattern", "^[0-9.]+(e[+-]?[0-9]+)?([KMGT]i?|k)?(" + units + ")s?$"}};
}

Json value_schema(Field const& field) {
  std::vector<Json> forms;
  Json const count_text = {{"type", "string"}, {"pattern", "^[0-9.]+(e[0-9]+)?([KMGT]i?|k)?$"}};
  Json const percent_text = {{"type", "string"}, {"pattern", "^[0-9.]+%$"}};
  switch (field.kind) {
    case Kind::boolean:
      forms = {{{"type", "boolean"}}};
      break;
    case Kind::integer:
      forms = {number_schema(field, "integer")};
      break;
    case Kind::count:
      forms = {number_schema(field, "integer"), count_text};
      break;
    case Kind::real:
      forms = {number_schema(field, "number")};
      break;
    case Kind::fraction:
      forms = {number_schema(field, "number"), percent_text};
      break;
    case Kind::percent:
      forms = {percent_text};
      break;
    case Kind::duration:
      forms = {duration_schema(field)};
      break;
    case Kind::duration_list:
      forms = {{{"type", "array"}, {"items", duration_schema(field)}, {"minItems", 1}}};
      break;
    case Kind::text:
      forms = {{{"type", {"string", "number"}}}};
      break;
    case Kind::choice:
      forms = {{{"type", "string"}, {"enum", field.choices}}};
      break;
    case Kind::text_list: {
      Json list = {{"type", "array"}, {"items", {{"type", {"string", "number"}}}}};
      if (!field.may_be_empty) list["minItems"] = 1;
      forms = {list, {{"type", "string"}}};
      break;
    }
    case Kind::fraction_list: {
      Json const share = {{"anyOf", {number_schema(field, "number"), percent_text}}};
      forms = {number_schema(field, "number"), percent_text, {{"type", "array"}, {"items", share}, {"minItems", 1}}};
      break;
    }
    case Kind::integer_list:
    case Kind::real_list: {
      char const* const type = field.kind == Kind::integer_list ? "integer" : "number";
      forms = {{{"type", "array"}, {"items", number_schema(field, type)}, {"minItems", 1}}};
      break;
    }
  }
  if (!field.zero_word.empty()) forms.push_back({{"const", field.zero_word}});
  if (field.zero_word == "off") forms.push_back({{"const", 0}});
  return forms.size() == 1 ? forms.front() : Json{{"anyOf", forms}};
}

std::string default_of(Config& config, ConfigField const& field) { return format_value(field, field.at(config)); }

Json described(Field const& field, std::string const& default_text) {
  Json schema = {{"description", field.doc + " Default: " + default_text + ". " + describe_values(field) + "."}};
  schema.update(value_schema(field));
  return schema;
}

char const* class_name(ResumeClass resume) {
  switch (resume) {
    case ResumeClass::identity:
      return "identity";
    case ResumeClass::content:
      return "content";
    case ResumeClass::schedule:
      return "schedule";
    case ResumeClass::free:
      return "free";
  }
  return "";
}

std::string section_intro(std::string const& section) {
  if (section.empty()) return "The run";
  return "`" + section + "`";
}

// A cell of a Markdown table.
std::string cell(std::string text) {
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

Json sizes_schema() {
  return {{"description", size_doc},
          {"type", {"object", "null"}},
          {"propertyNames", {{"pattern", "^[A-Za-z0-9._-]+$"}}},
          {"additionalProperties", {{"$ref", "#/definitions/set"}}}};
}

Json tuned_schema() {
  Json const values = {{"type", "array"}, {"minItems", 2}};
  Json schema = {{"description", tuned_doc}, {"type", {"object", "null"}}, {"additionalProperties", false}, {"properties", Json::object()}};
  for (ConfigField const& field : config_fields())
    if (arm_may_set(field.path)) schema["properties"][field.path] = values;
  for (char const* section : {"model", "depth", "train"}) schema["properties"][section] = {{"type", {"object", "null"}}};
  return schema;
}

Json match_schema() {
  Json match = {{"type", "object"}, {"additionalProperties", false}, {"anyOf", Json::array()}, {"properties", Json::object()}};
  for (char const* named : {"forward_flops_of", "tokens_of"}) match["anyOf"].push_back({{"required", {named}}});
  MatchConfig default_match;
  for (MatchField const& field : match_fields()) {
    match["properties"][field.path] = described(field, format_value(field, field.at(default_match)));
  }
  return match;
}

}  // namespace

std::string config_json_schema() {
  Config defaults;
  Json properties = Json::object(), definitions = Json::object(), settable = Json::object();
  properties["include"] = {{"description", include_doc},
                           {"anyOf", {{{"type", "string"}}, {{"type", "array"}, {"items", {{"type", "string"}}}}}}};
  for (ConfigField const& field : config_fields()) {
    Json const schema = described(field, default_of(defaults, field));
    std::string const section(section_of(field.path));
    if (section.empty()) {
      properties[field.path] = schema;
      continue;
    }
    Json& group = definitions[section];
    if (group.is_null()) {
      group = {{"type", {"object", "null"}}, {"additionalProperties", false}, {"properties", Json::object()}};
      properties[section] = {{"$ref", "#/definitions/" + section}};
    }
    std::string key = field.path.substr(section.size() + 1), place = "#/definitions/" + section;
    Json* keys = &group["properties"];
    if (size_t const dot = key.find('.'); dot != std::string::npos) {  // a section inside the section
      std::string const inner = key.substr(0, dot);
      Json& below = (*keys)[inner];
      if (below.is_null()) below = {{"type", {"object", "null"}}, {"additionalProperties", false}, {"properties", Json::object()}};
      place += "/properties/" + inner;
      if (arm_may_set(field.path)) settable[section + "." + inner] = {{"$ref", place}};
      keys = &below["properties"];
      key = key.substr(dot + 1);
    }
    (*keys)[key] = schema;
    if (arm_may_set(field.path)) {
      settable[field.path] = {{"$ref", place + "/properties/" + key}};
      settable[section] = {{"$ref", "#/definitions/" + section}};
    }
  }
  definitions["set"] = {{"type", {"object", "null"}}, {"additionalProperties", false}, {"properties", settable}};
  definitions["arm"] = {{"type", {"object", "null"}},
                        {"additionalProperties", false},
                        {"properties", {{"set", {{"$ref", "#/definitions/set"}}}, {"match", match_schema()}, {"size", sizes_schema()}}}};
  ArmConfig default_arm;
  for (ArmField const& field : arm_fields())
    definitions["arm"]["properties"][field.path] = described(field, format_value(field, field.at(default_arm)));
  Json& tune = definitions["compare"]["properties"]["tune"]["properties"];
  tune["keys"] = tuned_schema();
  tune["as"] = {{"description", choice_doc}, {"type", "object"}, {"additionalProperties", {{"type", "string"}}}};
  definitions["compare"]["properties"]["arms"] = {{"description", arms_doc},
                                                  {"type", "object"},
                                                  {"propertyNames", {{"pattern", "^[A-Za-z0-9_-]+$"}}},
                                                  {"additionalProperties", {{"$ref", "#/definitions/arm"}}}};
  Json const schema = {{"$schema", "http://json-schema.org/draft-07/schema#"},
                       {"title", "Isobath experiment"},
                       {"type", {"object", "null"}},
                       {"additionalProperties", false},
                       {"properties", properties},
                       {"definitions", definitions}};
  return schema.dump(2) + "\n";
}

std::string config_key_table() {
  std::string text =
      "# Keys of an experiment\n\n"
      "Generated by `isobath config table > configs/README.md`; a test fails when it is stale.\n\n"
      "A value can be overridden for one call with `key.path=value` on the command line. Counts take K, M, G (1000) "
      "and Ki, Mi, Gi\n"
      "(1024); durations are `500step`, `20Mtok`, `3epoch`, `2e14flop` or, where a share of the run makes sense, "
      "`5%`.\n"
      "`include: other.yaml` (or a list) reads other files first. `isobath config show FILE` prints every value with "
      "its origin,\n"
      "`isobath config check FILE` all problems at once, `isobath config schema` a JSON Schema for editors.\n\n"
      "On resume, a change of an *identity* key is refused, a change of a *schedule* key starts a new segment of the "
      "run, and *free*\n"
      "keys may change at any time. A *content* key may name another place: the text that it holds must be the same.\n";
  Config defaults;
  std::string section = "-";
  for (ConfigField const& field : config_fields()) {
    std::string const own(section_of(field.path));
    if (own != section) {
      text += "\n## " + section_intro(own) + "\n\n| key | default | values | on resume | meaning |\n|---|---|---|---|---|\n";
      section = own;
    }
    text += "| `" + field.path + "` | `" + cell(default_of(defaults, field)) + "` | " + cell(describe_values(field)) + " | " +
            class_name(field.resume) + " | " + cell(field.doc) + " |\n";
  }
  text += "| `compare.tune.keys` | | map of lists | free | " + std::string(tuned_doc) + " |\n";
  text += "| `compare.tune.as` | | map of arms to arms | free | " + std::string(choice_doc) + " |\n";
  text += "| `compare.arms` | | map of arms | free | " + std::string(arms_doc) + " |\n";
  text += "| `compare.arms.NAME.size` | | map of sizes | free | " + std::string(size_doc) + " |\n";
  ArmConfig default_arm;
  for (ArmField const& field : arm_fields())
    text += "| `compare.arms.NAME." + field.path + "` | `" + format_value(field, field.at(default_arm)) + "` | " +
            cell(describe_values(field)) + " | free | " + cell(field.doc) + " |\n";
  MatchConfig default_match;
  for (MatchField const& field : match_fields()) {
    std::string const value = format_value(field, field.at(default_match));
    text += "| `compare.arms.NAME.match." + field.path + "` | " + (value == "\"\"" ? std::string() : "`" + value + "`") + " | " +
            cell(describe_values(field)) + " | free | " + cell(field.doc) + " |\n";
  }
  return text;
}

namespace {

std::string help_line(std::string const& key, std::string const& value, std::string const& doc, std::string const& values) {
  std::string entry = "  " + key + (value.empty() ? "" : "=" + value);
  entry.resize(std::max<size_t>(entry.size() + 1, 36), ' ');
  return entry + " " + doc + (values.empty() ? "" : " (" + values + ")") + "\n";
}

// The form in which texts are searched: lower case, "_" replaced by a space, hyphens left out ("warm-up" is found as "warmup").
std::string comparable(std::string const& text) {
  std::string result;
  for (char const c : text)
    if (c != '-') result += c == '_' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool begins_a_word(std::string const& text, std::string const& wanted) {
  for (size_t at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1))
    if (at == 0 || std::isalnum(static_cast<unsigned char>(text[at - 1])) == 0) return true;
  return false;
}

}  // namespace

std::string config_help(std::string const& topic) {
  struct Line {
    std::string key, text;
  };
  std::vector<Line> lines;
  Config defaults;
  for (ConfigField const& field : config_fields())
    lines.push_back({field.path, help_line(field.path, default_of(defaults, field), field.doc, describe_values(field))});
  lines.push_back({"compare.tune.keys", help_line("compare.tune.keys", "", tuned_doc, "{train.lr: [1e-3, 2e-3, 4e-3]}")});
  lines.push_back({"compare.tune.as", help_line("compare.tune.as", "", choice_doc, "map of arms to arms")});
  lines.push_back({"compare.arms", help_line("compare.arms", "", arms_doc, "map of arms")});
  lines.push_back({"compare.arms.NAME.set",
                   help_line("compare.arms.NAME.set", "", "Keys of model, depth and train that this arm changes.", "{model.layers: 3}")});
  lines.push_back({"compare.arms.NAME.size", help_line("compare.arms.NAME.size", "", size_doc, "map of sizes")});
  ArmConfig default_arm;
  for (ArmField const& field : arm_fields()) {
    std::string const key = "compare.arms.NAME." + field.path;
    lines.push_back({key, help_line(key, format_value(field, field.at(default_arm)), field.doc, describe_values(field))});
  }
  MatchConfig default_match;
  for (MatchField const& field : match_fields()) {
    std::string const key = "compare.arms.NAME.match." + field.path, value = format_value(field, field.at(default_match));
    lines.push_back({key, help_line(key, value == "\"\"" ? "" : value, field.doc, describe_values(field))});
  }
  std::string section, at_start, inside, wanted = comparable(topic);
  for (Line const& line : lines) {
    if (topic.empty() || line.key == topic || line.key.starts_with(topic + ".")) section += line.text;
    std::string const text = comparable(line.text);
    if (begins_a_word(text, wanted)) at_start += line.text;
    if (text.find(wanted) != std::string::npos) inside += line.text;
  }
  if (!section.empty()) return section;
  std::string const elsewhere = known_elsewhere(topic);
  // Matches inside words ("amp" in "sample") count only where no word starts with it.
  std::string const found = !at_start.empty() ? at_start : elsewhere.empty() ? inside : "";
  return (elsewhere.empty() ? "" : topic + ": " + elsewhere + "\n") + found;
}

}  // namespace isobath
