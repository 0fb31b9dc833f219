// Which settings are tried.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "config/fields.h"
#include "config/values.h"
#include "core/error.h"
#include "core/random.h"
#include "trainer/compare/tune.h"

namespace isobath {
namespace {

std::string value_in(TunedSettings const& settings, std::string const& key) {
  for (auto const& [path, value] : settings)
    if (path == key) return value;
  return "";
}

// The number that a value stands for; NaN for a word or a list.
double number_of(std::string const& key, std::string const& text) {
  ConfigField const& field = *find_field(key);
  Config scratch;
  Problems unreadable;
  bool const is_number = !text.empty() && (std::isdigit(static_cast<unsigned char>(text[0])) || text[0] == '.' || text[0] == '-');
  FieldRef const at = field.at(scratch);
  if (!is_number || assign(field, at, parse_tree(text, nullptr, unreadable))) return std::numeric_limits<double>::quiet_NaN();
  if (auto* const whole = std::get_if<int64_t*>(&at)) return static_cast<double>(**whole);
  if (auto* const real = std::get_if<double*>(&at)) return **real;
  if (auto* const duration = std::get_if<Duration*>(&at)) return (*duration)->amount;
  return std::numeric_limits<double>::quiet_NaN();
}

// "1.6e-2"
std::string with_exponent(double number) {
  int const exponent = static_cast<int>(std::floor(std::log10(number) + 1e-9));
  return fmt::format("{:.3g}e{}", number / std::pow(10, exponent), exponent);
}

// Text of a number, written as `like` is: a share with its %, a duration with its unit, 4e-3 with its exponent. Empty where the key does
// not take it.
std::string value_text(std::string const& key, double number, std::string const& like) {
  ConfigField const& field = *find_field(key);
  double const rounded = std::stod(fmt::format("{:.3g}", number));
  std::string text;
  if (field.kind == Kind::integer || field.kind == Kind::count) {
    text = fmt::format("{:.0f}", std::round(number));
  } else if (field.kind == Kind::duration) {
    Duration const before = parse_duration(like).value_or(Duration());
    text = format_duration({before.unit == Unit::step || before.unit == Unit::token ? std::round(number) : rounded, before.unit});
  } else {
    text = like.ends_with('%')                   ? format_percent(rounded)
           : like.find('e') != std::string::npos ? with_exponent(rounded)
                                                 : format_real(rounded);
  }
  Config scratch;
  Problems unreadable;
  return assign(field, field.at(scratch), parse_tree(text, nullptr, unreadable)) ? "" : text;
}

// The distinct values of a key that were tried, from the smallest; empty where one is no number.
std::vector<double> numbers_tried(std::vector<Trial> const& tried, std::string const& key) {
  std::set<double> numbers;
  for (Trial const& trial : tried) {
    double const number = number_of(key, value_in(trial.settings, key));
    if (std::isnan(number)) return {};
    numbers.insert(number);
  }
  return {numbers.begin(), numbers.end()};
}

// "lr", or the whole path where another tuned key ends alike.
std::string short_name(TunedSettings const& settings, std::string const& key) {
  auto const last = [](std::string const& path) { return path.substr(path.rfind('.') + 1); };
  auto const alike = std::count_if(settings.begin(), settings.end(), [&](auto const& one) { return last(one.first) == last(key); });
  return alike > 1 ? key : last(key);
}

// "lr-2e-3_weight_decay-0.1"
std::string name_of(TunedSettings const& settings) {
  std::string name;
  for (auto const& [key, value] : settings) {
    name += (name.empty() ? "" : "_") + short_name(settings, key) + "-";
    for (char const c : value)
      if (std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '+' || c == '_' || c == '%')
        name += c;
      else if (c == ',')
        name += '_';
  }
  return name;
}

}  // namespace

std::vector<Trial> first_trials(Config const& experiment) {
  TuneConfig const& tuning = experiment.compare.tune;
  size_t all = 1;
  for (TunedKey const& key : tuning.keys) all *= key.values.size();
  std::vector<size_t> chosen;
  size_t const wanted = tuning.trials > 0 ? static_cast<size_t>(tuning.trials) : all;
  if (wanted > all)
    throw Error(ExitCode::config, fmt::format("compare.tune.trials is {}, but compare.tune.keys has {} combinations", wanted, all));
  uint64_t const draw = make_key({static_cast<uint64_t>(experiment.seed), hash_text("compare.tune.trials")});
  for (size_t i = 0; i < wanted; ++i) chosen.push_back(wanted == all ? i : permute(i, all, draw));
  std::sort(chosen.begin(), chosen.end());
  std::vector<Trial> trials;
  std::set<std::string> names;
  for (size_t index : chosen) {
    TunedSettings settings;
    for (auto key = tuning.keys.rbegin(); key != tuning.keys.rend(); ++key) {  // the last key varies fastest
      settings.emplace(settings.begin(), key->path, key->values[index % key->values.size()]);
      index /= key->values.size();
    }
    trials.push_back({name_of(settings), settings});
    if (!names.insert(trials.back().name).second)
      throw Error(ExitCode::config, "compare.tune.keys: two settings would both be named " + trials.back().name);
  }
  return trials;
}

std::vector<TuningEdge> edges_of(std::vector<Trial> const& tried, Trial const& trial) {
  std::vector<TuningEdge> found;
  for (auto const& [key, value] : trial.settings) {
    std::vector<double> const numbers = numbers_tried(tried, key);
    if (numbers.size() < 2) continue;
    double const number = number_of(key, value);
    if (number == numbers.front() || number == numbers.back()) found.push_back({key, value, number == numbers.back()});
  }
  return found;
}

std::vector<Trial> trials_beyond(std::vector<Trial> const& tried, TuningEdge const& edge) {
  std::vector<double> const numbers = numbers_tried(tried, edge.key);
  if (numbers.size() < 2) return {};
  double const last = edge.is_largest ? numbers.back() : numbers.front();
  double const before = edge.is_largest ? numbers[numbers.size() - 2] : numbers[1];
  if (last <= 0 || before <= 0) return {};  // no ratio
  std::string const next = value_text(edge.key, last * (last / before), edge.value);
  if (next.empty() || number_of(edge.key, next) == last) return {};
  std::vector<Trial> beyond;
  for (Trial const& trial : tried) {
    if (number_of(edge.key, value_in(trial.settings, edge.key)) != last) continue;
    TunedSettings settings = trial.settings;
    for (auto& [key, value] : settings)
      if (key == edge.key) value = next;
    beyond.push_back({name_of(settings), settings});
  }
  return beyond;
}

}  // namespace isobath
