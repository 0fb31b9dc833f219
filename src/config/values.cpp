#include "config/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>

namespace isobath {
namespace {

using Wrong = std::optional<WrongValue>;

// "a duration; write for example 500step, 2Mtok or 3epoch": what a value is not.
std::string what_belongs(Field const& field) {
  std::string const values = describe_values(field);
  switch (field.kind) {
    case Kind::boolean:
      return "true or false";
    case Kind::integer:
      return "a whole number (" + values + ")";
    case Kind::count:
      return "a count; write for example 64Ki or 2M (" + values + ")";
    case Kind::real:
      return "a number (" + values + ")";
    case Kind::fraction:
      return "a share; write for example 0.1 or 10% (" + values + ")";
    case Kind::percent:
      return "a percentage; write for example 10% (" + values + ")";
    case Kind::duration: {
      std::string text;
      for (size_t i = 0; i < field.units.size(); ++i)
        text += (i == 0 ? "" : i + 1 == field.units.size() ? " or " : ", ") + unit_example(field.units[i]);
      return "a duration; write for example " + text;
    }
    case Kind::duration_list:
      return "a list of durations in one unit; write for example [3e12flop, 1e13flop]";
    case Kind::text:
    case Kind::choice:
      return values.starts_with("one of") ? values : "a text (" + values + ")";
    case Kind::text_list:
    case Kind::integer_list:
    case Kind::real_list:
      return "a " + values;
    case Kind::fraction_list:
      return "a share or a list of them; write for example 10% or [0.5, 0.25] (" + values + ")";
  }
  return values;
}

std::string allowed(Field const& field) { return " (" + describe_values(field) + ")"; }

std::string kind_of(Tree const& tree) {
  switch (tree.kind) {
    case Tree::Kind::null:
      return "nothing";
    case Tree::Kind::scalar:
      return "'" + tree.text + "'";
    case Tree::Kind::list:
      return "a list";
    case Tree::Kind::map:
      return "a map";
  }
  return {};
}

// Numbers that other YAML readers would take for something else.
std::string why_no_number(std::string const& text) {
  std::string_view digits = text;
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) digits.remove_prefix(1);
  if (digits.size() > 1 && digits[0] == '0' && std::isdigit(static_cast<unsigned char>(digits[1]))) {
    return "'" + text + "' has a leading zero, which YAML readers take for octal";
  }
  std::string lower(digits);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (lower == ".inf" || lower == ".nan" || lower == "inf" || lower == "nan" || lower == "infinity") {
    return "'" + text + "' is not a finite number";
  }
  return {};
}

std::optional<double> parse_real(std::string_view text) {
  std::string_view digits = text;
  if (!digits.empty() && digits[0] == '-') digits.remove_prefix(1);
  bool const starts = !digits.empty() && (std::isdigit(static_cast<unsigned char>(digits[0])) || digits[0] == '.');
  bool const octal = digits.size() > 1 && digits[0] == '0' && std::isdigit(static_cast<unsigned char>(digits[1]));
  double value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (!starts || octal || error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return {};
  return value;
}

// long double: holds every int64_t exactly.
Wrong out_of_range(Field const& field, Tree const& value, long double number) {
  bool const small = number < field.min || (field.above_min && number == field.min);
  bool const large = number > field.max || (field.below_max && number == field.max);
  if (!small && !large) return {};
  return WrongValue{value.place, "'" + value.text + "' is too " + (small ? "small" : "large") + allowed(field)};
}

Wrong not_a(Field const& field, Tree const& value) {
  std::string const reason = value.kind == Tree::Kind::scalar ? why_no_number(value.text) : "";
  if (!reason.empty()) return WrongValue{value.place, reason + allowed(field)};
  if (value.kind == Tree::Kind::null) return WrongValue{value.place, "no value" + allowed(field)};
  return WrongValue{value.place, kind_of(value) + " is not " + what_belongs(field)};
}

bool is_zero_word(Field const& field, std::string const& text) {
  return !field.zero_word.empty() && (text == field.zero_word || (field.zero_word == "off" && text == "0"));
}

Wrong assign_integer(Field const& field, int64_t& target, Tree const& value) {
  if (is_zero_word(field, value.text)) {
    target = 0;
    return {};
  }
  bool const digits_only = std::all_of(value.text.begin(), value.text.end(), [](char c) { return c == '-' || (c >= '0' && c <= '9'); });
  std::optional<int64_t> const number = parse_count(value.text);
  if (!number || (field.kind != Kind::count && !digits_only)) return not_a(field, value);
  if (Wrong wrong = out_of_range(field, value, *number)) return wrong;
  target = *number;
  return {};
}

Wrong assign_real(Field const& field, double& target, Tree const& value) {
  if (is_zero_word(field, value.text)) {
    target = 0;
    return {};
  }
  std::string_view text = value.text;
  bool const is_share = field.kind == Kind::fraction || field.kind == Kind::percent || field.kind == Kind::fraction_list;
  bool const has_percent = text.ends_with('%') && is_share;
  if (has_percent) text.remove_suffix(1);
  std::optional<double> number = parse_real(text);
  if (number && field.kind == Kind::percent && !has_percent) {
    return WrongValue{value.place, "'" + value.text + "' needs its % sign: " + format_percent(*number) + ", or " + format_real(*number) +
                                       "%" + allowed(field)};
  }
  if (!number) return not_a(field, value);
  if (has_percent) *number /= 100;
  if (Wrong wrong = out_of_range(field, value, *number)) return wrong;
  target = *number;
  return {};
}

Wrong assign_duration(Field const& field, Duration& target, Tree const& value) {
  std::optional<Duration> const duration = parse_duration(value.text);
  if (!duration) {
    if (std::optional<double> const number = parse_real(value.text); number && *number >= 0) {
      return WrongValue{value.place, "'" + value.text + "' needs a unit" + allowed(field)};
    }
    return not_a(field, value);
  }
  if (std::find(field.units.begin(), field.units.end(), duration->unit) == field.units.end()) return not_a(field, value);
  if (duration->unit == Unit::percent && duration->amount > 100) {
    return WrongValue{value.place, "'" + value.text + "' is more than the whole run"};
  }
  if (Wrong wrong = out_of_range(field, value, duration->amount)) return wrong;
  target = *duration;
  return {};
}

Wrong check_choice(Field const& field, Tree const& value) {
  if (std::find(field.choices.begin(), field.choices.end(), value.text) != field.choices.end()) return {};
  std::string const near = nearest(value.text, field.choices);
  return WrongValue{value.place,
                    "'" + value.text + "' is not " + describe_values(field) + (near.empty() ? "" : " (did you mean '" + near + "'?)")};
}

Wrong assign_one(Field const& field, FieldRef target, Tree const& value);

template <class Item>
Wrong assign_list(Field const& field, std::vector<Item>& target, Tree const& value) {
  if (value.kind == Tree::Kind::scalar && is_zero_word(field, value.text)) {
    target.clear();
    return {};
  }
  bool const takes_one = std::is_same_v<Item, std::string> || field.kind == Kind::fraction_list;
  std::vector<Item> items;
  if (value.kind == Tree::Kind::list) {
    for (Tree const& tree : value.items) {
      Item item{};
      if (Wrong wrong = assign_one(field, &item, tree)) return wrong;
      items.push_back(std::move(item));
    }
  } else if (takes_one && value.kind == Tree::Kind::scalar) {
    Item item{};
    if (Wrong wrong = assign_one(field, &item, value)) return wrong;
    items.push_back(std::move(item));
  } else {
    return not_a(field, value);
  }
  if (items.empty() && !field.may_be_empty) return WrongValue{value.place, "an empty list" + allowed(field)};
  target = std::move(items);
  return {};
}

// A single value, also as an item of a list.
Wrong assign_one(Field const& field, FieldRef target, Tree const& value) {
  if (value.kind != Tree::Kind::scalar) return not_a(field, value);
  if (auto* flag = std::get_if<bool*>(&target)) {
    if (value.quoted || (value.text != "true" && value.text != "false")) return not_a(field, value);
    **flag = value.text == "true";
    return {};
  }
  if (auto* number = std::get_if<int64_t*>(&target)) return assign_integer(field, **number, value);
  if (auto* number = std::get_if<double*>(&target)) return assign_real(field, **number, value);
  if (auto* duration = std::get_if<Duration*>(&target)) return assign_duration(field, **duration, value);
  if (field.kind == Kind::choice) {
    if (Wrong wrong = check_choice(field, value)) return wrong;
  }
  if (auto* choice = std::get_if<AnyChoice*>(&target)) {
    (*choice)->set(value.text);
    return {};
  }
  auto& text = *std::get<std::string*>(target);
  // An empty list is a list without items, not one with an empty text in it.
  if (value.text.empty() && (!field.may_be_empty || field.kind == Kind::text_list)) {
    return WrongValue{value.place, "an empty text" + allowed(field)};
  }
  if (value.text.find('\0') != std::string::npos) return WrongValue{value.place, "a text with a zero byte"};
  text = value.text;
  return {};
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1), previous(b.size() + 1), before(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    before = previous;
    previous = row;
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      bool const swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<WrongValue> assign(Field const& field, FieldRef target, Tree const& value) {
  if (auto* list = std::get_if<std::vector<std::string>*>(&target)) return assign_list(field, **list, value);
  if (auto* list = std::get_if<std::vector<int64_t>*>(&target)) return assign_list(field, **list, value);
  if (auto* list = std::get_if<std::vector<double>*>(&target)) return assign_list(field, **list, value);
  if (auto* list = std::get_if<std::vector<Duration>*>(&target)) return assign_list(field, **list, value);
  return assign_one(field, target, value);
}

std::string format_percent(double share) {
  // The shortest number of percent that reads back as this very share.
  for (int precision = 1; precision <= 17; ++precision) {
    std::array<char, 64> buffer;
    auto const result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), share * 100, std::chars_format::general, precision);
    double const percent = parse_real(std::string_view(buffer.data(), result.ptr)).value_or(-1);
    if (percent / 100 == share) return format_real(percent) + "%";
  }
  return format_real(share * 100) + "%";
}

std::string unit_example(Unit unit) {
  switch (unit) {
    case Unit::step:
      return "500step";
    case Unit::token:
      return "2Mtok";
    case Unit::flop:
      return "2e12flop";
    case Unit::epoch:
      return "3epoch";
    case Unit::percent:
      return "5%";
    case Unit::second:
      return "60s";
  }
  return {};
}

std::string format_value(Field const& field, FieldRef target) {
  auto const listed = [](auto const& items, auto const& format) {
    std::string text;
    for (auto const& item : items) text += (text.empty() ? "" : ", ") + format(item);
    return "[" + text + "]";
  };
  if (auto* flag = std::get_if<bool*>(&target)) return **flag ? "true" : "false";
  if (auto* number = std::get_if<int64_t*>(&target)) {
    if (**number == 0 && !field.zero_word.empty()) return field.zero_word;
    return field.kind == Kind::count ? format_count(**number) : std::to_string(**number);
  }
  if (auto* number = std::get_if<double*>(&target)) {
    if (**number == 0 && !field.zero_word.empty()) return field.zero_word;
    return field.kind == Kind::percent ? format_percent(**number) : format_real(**number);
  }
  if (auto* duration = std::get_if<Duration*>(&target)) return format_duration(**duration);
  if (auto* text = std::get_if<std::string*>(&target)) return yaml_text(**text);
  if (auto* choice = std::get_if<AnyChoice*>(&target)) return yaml_text((*choice)->name());
  if (auto* list = std::get_if<std::vector<std::string>*>(&target)) return listed(**list, [](auto const& t) { return yaml_text(t); });
  if (auto* list = std::get_if<std::vector<int64_t>*>(&target)) {
    if ((*list)->empty() && !field.zero_word.empty()) return field.zero_word;
    return listed(**list, [](int64_t n) { return std::to_string(n); });
  }
  if (auto* list = std::get_if<std::vector<Duration>*>(&target)) {
    if ((*list)->empty() && !field.zero_word.empty()) return field.zero_word;
    return listed(**list, format_duration);
  }
  std::vector<double> const& list = *std::get<std::vector<double>*>(target);
  if (list.empty() && !field.zero_word.empty()) return field.zero_word;
  return field.kind == Kind::fraction_list && list.size() == 1 ? format_real(list.front()) : listed(list, format_real);
}

std::string nearest(std::string_view word, std::vector<std::string> const& words) {
  std::string best;
  size_t const tolerated = std::max<size_t>(1, word.size() / 3);
  size_t distance = tolerated + 1;
  for (std::string const& candidate : words) {
    size_t const here = edit_distance(word, candidate);
    if (here < distance) {
      distance = here;
      best = candidate;
    }
  }
  return best;
}

}  // namespace isobath
