#include "config/fields.h"

#include <algorithm>

#include "config/sections/sections.h"
#include "config/values.h"

namespace isobath {
namespace {

std::vector<ConfigField> make_fields() {
  std::vector<ConfigField> fields;
  for (auto const of_section : {run_fields, data_fields, tokenizer_fields, model_fields, depth_fields, train_fields, eval_fields,
                                checkpoint_fields, parallel_fields, compare_fields, tune_fields}) {
    std::vector<ConfigField> const rows = of_section();
    fields.insert(fields.end(), rows.begin(), rows.end());
  }
  return fields;
}

std::string number(Field const& field, double value) { return field.kind == Kind::percent ? format_percent(value) : format_real(value); }

std::string range(Field const& field) {
  bool const low = field.min > -1e300, high = field.max < 1e300;
  std::string const above = field.above_min ? "above " : "at least ";
  if (low && high && !field.above_min && !field.below_max) {
    // Upper bounds that only guard against overflow are not worth reading.
    if (field.max > 1e15) return "at least " + number(field, field.min);
    return number(field, field.min) + " to " + number(field, field.max);
  }
  std::string text;
  if (low) text = above + number(field, field.min);
  if (high && field.max <= 1e15) {
    text += (text.empty() ? "" : ", ") + std::string(field.below_max ? "below " : "at most ") + number(field, field.max);
  }
  return text;
}

std::string joined(std::vector<std::string> const& words) {
  std::string text;
  for (std::string const& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

std::vector<ConfigField> const& config_fields() {
  static size_t changes = depth_kind_changes();
  static std::vector<ConfigField> fields = make_fields();
  // A kind of depth that was added since is one more value of depth.kind.
  if (changes != depth_kind_changes()) {
    fields = make_fields();
    changes = depth_kind_changes();
  }
  return fields;
}

std::vector<ArmField> const& arm_fields() {
  static std::vector<ArmField> const fields = arm_rows();
  return fields;
}

std::vector<MatchField> const& match_fields() {
  static std::vector<MatchField> const fields = match_rows();
  return fields;
}

ConfigField const* find_field(std::string_view path) {
  auto const& fields = config_fields();
  auto const found = std::find_if(fields.begin(), fields.end(), [&](Field const& field) { return field.path == path; });
  return found == fields.end() ? nullptr : &*found;
}

std::string_view section_of(std::string_view path) {
  auto const dot = path.find('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

bool is_section(std::string_view path) {
  auto const& fields = config_fields();
  return !path.empty() && std::any_of(fields.begin(), fields.end(),
                                      [below = std::string(path) + "."](Field const& field) { return field.path.starts_with(below); });
}

bool arm_may_set(std::string_view path) {
  std::string_view const section = section_of(path);
  return path != "train.budget" && (section == "model" || section == "depth" || section == "train");
}

std::string describe_values(Field const& field) {
  std::string text;
  switch (field.kind) {
    case Kind::boolean:
      return "true or false";
    case Kind::integer:
      text = "integer";
      break;
    case Kind::count:
      text = "count (64Ki, 2M)";
      break;
    case Kind::real:
      text = "number";
      break;
    case Kind::fraction:
      text = "share (0.1 or 10%)";
      break;
    case Kind::percent:
      text = "percentage (10%)";
      break;
    case Kind::duration: {
      std::vector<std::string> units;
      for (Unit const unit : field.units) units.push_back(unit_example(unit));
      return "duration (" + joined(units) + ")";
    }
    case Kind::duration_list:
      text = "list of durations in one unit";
      break;
    case Kind::text:
      return field.may_be_empty ? "text, may be empty" : "text";
    case Kind::choice:
      return (field.choices.size() > 1 ? "one of " : "") + joined(field.choices);
    case Kind::text_list:
      return field.may_be_empty ? "list of texts, may be empty" : "list of texts";
    case Kind::integer_list:
      text = "list of integers";
      break;
    case Kind::real_list:
      text = "list of numbers";
      break;
    case Kind::fraction_list:
      text = "share (0.1 or 10%) or a list of them";
      break;
  }
  std::string const limits = range(field);
  if (!limits.empty()) text += ", " + limits;
  if (!field.zero_word.empty()) text += ", or " + field.zero_word;
  return text;
}

}  // namespace isobath
