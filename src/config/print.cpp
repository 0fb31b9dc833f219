#include <algorithm>
#include <variant>

#include "config/values.h"
#include "core/error.h"
#include "core/files.h"
#include "core/utf8.h"

namespace isobath {
namespace {

struct Line {
  std::string text;
  std::string path;  // of the key it gives a value to; empty for headings
};

std::string match_text(MatchConfig match) {  // NOLINT(performance-unnecessary-value-param): fields are read through a plain reference
  std::string text;
  for (MatchField const& field : match_fields()) {
    std::string const value = format_value(field, field.at(match));
    if (value != "\"\"") text += (text.empty() ? "" : ", ") + field.path + ": " + value;
  }
  return "{" + text + "}";
}

bool is_matched(ArmConfig const& arm) { return !arm.match.forward_flops_of.empty() || !arm.match.tokens_of.empty(); }

void add_set(std::vector<Assignment> const& set, std::string const& indent, std::string const& at, std::vector<Line>& lines) {
  for (Assignment const& assignment : set) lines.push_back({indent + assignment.path + ": " + assignment.value, at + assignment.path});
}

std::string list_text(std::vector<std::string> const& values) {
  std::string text;
  for (std::string const& value : values) text += (text.empty() ? "" : ", ") + value;
  return "[" + text + "]";
}

// The keys of compare.tune that are named by a person; its other keys come just before.
void add_tuned(TuneConfig const& tune, std::vector<Line>& lines) {
  if (tune.is_on()) lines.push_back({"    keys:", ""});
  for (TunedKey const& key : tune.keys)
    lines.push_back({"      " + key.path + ": " + list_text(key.values), "compare.tune.keys." + key.path});
  if (!tune.choice_of.empty()) lines.push_back({"    as:", ""});
  for (auto const& [arm, other] : tune.choice_of) lines.push_back({"      " + arm + ": " + other, "compare.tune.as." + arm});
}

void add_arms(std::vector<ArmConfig> const& arms, std::vector<Line>& lines) {
  if (arms.empty()) return;
  lines.push_back({"  arms:", ""});
  for (ArmConfig const& arm : arms) {
    std::string const at = "compare.arms." + arm.name;
    if (arm.set.empty() && !is_matched(arm) && arm.sizes.empty() && !arm.reference) {
      lines.push_back({"    " + arm.name + ": {}", at});
      continue;
    }
    lines.push_back({"    " + arm.name + ":", ""});
    if (!arm.set.empty()) lines.push_back({"      set:", ""});
    add_set(arm.set, "        ", at + ".set.", lines);
    if (!arm.sizes.empty()) lines.push_back({"      size:", ""});
    for (SizeConfig const& size : arm.sizes) {
      lines.push_back({"        " + size.name + ":", ""});
      add_set(size.set, "          ", at + ".size." + size.name + ".", lines);
    }
    if (is_matched(arm)) lines.push_back({"      match: " + match_text(arm.match), at + ".match"});
    if (arm.reference) lines.push_back({"      reference: true", at + ".reference"});
  }
}

std::vector<Line> yaml_lines(Config config) {  // NOLINT(performance-unnecessary-value-param): as above
  std::vector<Line> lines;
  std::string above;  // the path of the key before
  for (ConfigField const& field : config_fields()) {
    std::string indent;
    size_t start = 0;
    for (size_t dot = field.path.find('.'); dot != std::string::npos; start = dot + 1, dot = field.path.find('.', start)) {
      if (!above.starts_with(field.path.substr(0, dot + 1))) lines.push_back({indent + field.path.substr(start, dot - start) + ":", ""});
      indent += "  ";
    }
    lines.push_back({indent + field.path.substr(start) + ": " + format_value(field, field.at(config)), field.path});
    above = field.path;
  }
  add_tuned(config.compare.tune, lines);  // the last keys of `compare`, which is the last section
  add_arms(config.compare.arms, lines);
  return lines;
}

std::string set_text(std::vector<Assignment> const& set) {
  std::string text;
  for (Assignment const& assignment : set) text += (text.empty() ? "" : ", ") + assignment.path + ": " + assignment.value;
  return "{" + text + "}";
}

std::string arms_text(std::vector<ArmConfig> const& arms) {
  std::string text;
  for (ArmConfig const& arm : arms) text += (text.empty() ? "" : ", ") + arm.name + ": " + arm_text(arm);
  return "{" + text + "}";
}

std::string tuned_text(TuneConfig const& tune) {
  std::string text;
  for (TunedKey const& key : tune.keys) text += (text.empty() ? "" : ", ") + key.path + ": " + list_text(key.values);
  return "{" + text + "}";
}

std::string choices_text(TuneConfig const& tune) {
  std::string text;
  for (auto const& [arm, other] : tune.choice_of) text += (text.empty() ? "" : ", ") + arm + ": " + other;
  return "{" + text + "}";
}

// Calls use(text) for each path that the key names.
template <typename Use>
void for_paths(ConfigField const& field, Config& config, Use const& use) {
  if (!field.names_files) return;
  auto const visit = [&](std::string& text) {
    if (!text.empty() && std::find(field.no_files.begin(), field.no_files.end(), text) == field.no_files.end()) use(text);
  };
  FieldRef const value = field.at(config);
  if (auto* const text = std::get_if<std::string*>(&value)) visit(**text);
  if (auto* const list = std::get_if<std::vector<std::string>*>(&value)) std::for_each((*list)->begin(), (*list)->end(), visit);
}

// Gives each path of `before` that is gone the value that stands in its place in `now`. Text that moved is no concern of this: its content
// is compared.
void take_over_moved_paths(Config& before, Config& now) {
  for (ConfigField const& field : config_fields()) {
    if (field.resume == ResumeClass::content) continue;
    std::vector<std::string*> then, today;
    for_paths(field, before, [&](std::string& path) { then.push_back(&path); });
    for_paths(field, now, [&](std::string& path) { today.push_back(&path); });
    std::error_code ignored;
    for (size_t i = 0; then.size() == today.size() && i < then.size(); ++i)
      if (!fs::exists(*then[i], ignored)) *then[i] = *today[i];
  }
}

}  // namespace

std::string arm_text(ArmConfig const& arm) {
  std::vector<std::string> parts;
  if (!arm.set.empty()) parts.push_back("set: " + set_text(arm.set));
  if (is_matched(arm)) parts.push_back("match: " + match_text(arm.match));
  std::string sizes;
  for (SizeConfig const& size : arm.sizes) sizes += (sizes.empty() ? "" : ", ") + size.name + ": " + set_text(size.set);
  if (!sizes.empty()) parts.push_back("size: {" + sizes + "}");
  if (arm.reference) parts.push_back("reference: true");
  std::string text;
  for (std::string const& part : parts) text += (text.empty() ? "" : ", ") + part;
  return "{" + text + "}";
}

std::string to_yaml(Config const& config) {
  std::string text;
  for (Line const& line : yaml_lines(config)) text += line.text + "\n";
  return text;
}

std::string show_config(LoadedConfig const& loaded) {
  std::vector<Line> const lines = yaml_lines(loaded.config);
  constexpr size_t widest = 48;  // longer values push only their own origin out
  size_t column = 0;
  for (Line const& line : lines) {
    if (line.text.size() <= widest) column = std::max(column, line.text.size());
  }
  std::string text;
  for (Line const& line : lines) {
    text += line.text;
    if (!line.path.empty()) {
      auto const origin = loaded.origins.find(line.path);
      text += std::string(line.text.size() < column ? column - line.text.size() : 0, ' ') + "  # ";
      text += origin == loaded.origins.end() ? "default" : origin->second;
    }
    text += "\n";
  }
  return text;
}

std::vector<ConfigDifference> diff_configs(Config const& before, Config const& after) {
  std::vector<ConfigDifference> differences;
  Config a = before, b = after;
  for (ConfigField const& field : config_fields()) {
    std::string const was = format_value(field, field.at(a)), is = format_value(field, field.at(b));
    if (was != is) differences.push_back({field.path, was, is, field.resume});
  }
  auto const compare = [&](char const* path, std::string const& was, std::string const& is) {
    if (was != is) differences.push_back({path, was, is, ResumeClass::free});
  };
  compare("compare.tune.keys", tuned_text(a.compare.tune), tuned_text(b.compare.tune));
  compare("compare.tune.as", choices_text(a.compare.tune), choices_text(b.compare.tune));
  compare("compare.arms", arms_text(a.compare.arms), arms_text(b.compare.arms));
  return differences;
}

Config with_absolute_paths(Config config) {
  for (ConfigField const& field : config_fields())
    for_paths(field, config, [&](std::string& path) {
      path = without_last_slash(fs::absolute(expand_user(path)).lexically_normal()).string();
      if (utf8_prefix(path) != path.size())
        throw Error(ExitCode::config,
                    field.path + ": the name of a folder in " + path + " is not UTF-8, as a run's config.yaml has to be: rename it");
    });
  return config;
}

std::vector<ConfigDifference> resume_differences(Config const& before, Config const& now) {
  auto const resolved = [](Config config) {
    ModelConfig& model = config.model;
    model.kv_heads = resolved_kv_heads(model);
    model.mlp_width = resolved_mlp_width(model);
    model.init_std = resolved_init_std(model);
    return config;
  };
  Config a = with_absolute_paths(resolved(before)), b = with_absolute_paths(resolved(now));
  take_over_moved_paths(a, b);
  if (a.data.split == Split::automatic || b.data.split == Split::automatic) a.data.split = b.data.split;
  return diff_configs(a, b);
}

}  // namespace isobath
