// The parts of `compare` whose keys are names that a person gives: arms, their sizes, and what is tuned.
#include <algorithm>

#include "config/fields.h"
#include "config/settings.h"
#include "config/values.h"

namespace isobath {
namespace {

std::string const arms_path = "compare.arms", tuned_path = "compare.tune.keys", choice_path = "compare.tune.as";

bool is_arm_name(std::string const& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

// A size names a folder, too, and may look like 1.5x.
bool is_size_name(std::string name) {
  if (name.find_first_not_of('.') == std::string::npos) return false;
  std::erase(name, '.');
  return is_arm_name(name);
}

// "(did you mean ...?)"
std::string did_you_mean(std::string const& word, std::vector<std::string> const& words) {
  std::string const near = nearest(word, words);
  return near.empty() ? "" : " (did you mean '" + near + "'?)";
}

// The part of `path` below `top`; empty for `top` itself.
std::string below(std::string const& path, std::string const& top) { return path == top ? "" : path.substr(top.size() + 1); }

void put(std::vector<Setting>& settings, Setting setting) {
  std::erase_if(settings, [&](Setting const& known) { return known.path == setting.path; });
  settings.push_back(std::move(setting));
}

}  // namespace

ArmSettings* SettingsReader::find_arm(std::string const& name) {
  auto const found = std::find_if(settings_.arms.begin(), settings_.arms.end(), [&](ArmSettings const& arm) { return arm.name == name; });
  return found == settings_.arms.end() ? nullptr : &*found;
}

void SettingsReader::read_arms(std::string const& path, Place const& key, Tree const& value, Seen& seen) {
  if (path == arms_path) {
    if (value.kind == Tree::Kind::null) return;
    if (value.kind != Tree::Kind::map) return no_map(path, value, "{dense: {}, mod: {set: {depth.kind: mod}}}");
    for (auto const& [name, arm] : value.entries) read_arm(name.text, name.place, arm, seen);
    return;
  }
  std::string const rest = below(path, arms_path);
  size_t const dot = rest.find('.');
  std::string const name = rest.substr(0, dot);
  seen.erase(path);
  if (dot == std::string::npos) return read_arm(name, key, value, seen);
  if (find_arm(name) == nullptr) {
    std::vector<std::string> names;
    for (ArmSettings const& arm : settings_.arms) names.push_back(arm.name);
    problems_.add(key, "there is no arm '" + name + "'" + did_you_mean(name, names));
    return;
  }
  read_arm_part(name, rest.substr(dot + 1), key, value, seen);
}

void SettingsReader::read_arm(std::string const& name, Place const& key, Tree const& value, Seen& seen) {
  if (is_duplicate(arms_path + "." + name, key, seen)) return;
  if (!is_arm_name(name)) {
    problems_.add(key, "arm name '" + name + "': letters, digits, '_' and '-' are allowed");
    return;
  }
  if (find_arm(name) == nullptr) settings_.arms.push_back({name, key, {}, {}, {}});
  if (value.kind != Tree::Kind::map && value.kind != Tree::Kind::null) {
    problems_.add(value.place, "an arm is {set: {key: value}, match: {...}, size: {...}}, or {} for the experiment as it stands");
    return;
  }
  for (auto const& [part, content] : value.entries) read_arm_part(name, part.text, part.place, content, seen);
}

void SettingsReader::read_arm_part(std::string const& arm, std::string const& path, Place const& key, Tree const& value, Seen& seen) {
  std::string const full = arms_path + "." + arm + "." + path;
  if (is_duplicate(full, key, seen)) return;
  for (ArmField const& field : arm_fields()) {
    if (field.path != path) continue;
    find_arm(arm)->own[path] = {path, value, key};
    return;
  }
  if (path == "set" || path == "match" || path == "size") {
    if (value.kind == Tree::Kind::null) return;
    if (value.kind != Tree::Kind::map) {
      std::string const example = path == "set"     ? "{model.layers: 3}"
                                  : path == "match" ? "{forward_flops_of: dense}"
                                                    : "{small: {model.layers: 2}, large: {model.layers: 4}}";
      problems_.add(value.place, path + ": holds keys: " + path + ": " + example);
      return;
    }
    for (auto const& [name, content] : value.entries) {
      if (path == "size")
        read_size(arm, name.text, name.place, content, seen);
      else
        read_arm_part(arm, path + "." + name.text, name.place, content, seen);
    }
    return;
  }
  if (path.starts_with("set.")) return read_set(arms_path + "." + arm + ".set", find_arm(arm)->set, path.substr(4), key, value, seen);
  if (path.starts_with("match.")) return read_match(arm, path.substr(6), key, value);
  if (path.starts_with("size.")) return read_sizes(arm, path.substr(5), key, value, seen);
  problems_.add(key, "unknown key '" + full + "' (an arm has set, match, size and reference)" +
                         did_you_mean(path.substr(0, path.find('.')), {"set", "match", "size", "reference"}));
}

void SettingsReader::read_match(std::string const& arm, std::string const& name, Place const& key, Tree const& value) {
  std::vector<std::string> names;
  for (MatchField const& field : match_fields()) {
    if (field.path == name) {
      find_arm(arm)->match[name] = {name, value, key};
      return;
    }
    names.push_back(field.path);
  }
  problems_.add(key, "unknown key '" + arms_path + "." + arm + ".match." + name + "'" + did_you_mean(name, names));
}

// "small", or a key of it: "small.model.layers".
void SettingsReader::read_sizes(std::string const& arm, std::string const& path, Place const& key, Tree const& value, Seen& seen) {
  std::string const at = arms_path + "." + arm + ".size.";
  for (SizeSettings& size : find_arm(arm)->sizes)
    if (path.starts_with(size.name + ".")) return read_set(at + size.name, size.set, path.substr(size.name.size() + 1), key, value, seen);
  seen.erase(at + path);
  if (size_t const dot = path.find('.'); dot != std::string::npos && value.kind != Tree::Kind::map) {
    std::vector<std::string> names;
    for (SizeSettings const& size : find_arm(arm)->sizes) names.push_back(size.name);
    std::string const name = path.substr(0, dot);
    problems_.add(key, "arm '" + arm + "' has no size '" + name + "'" + did_you_mean(name, names));
    return;
  }
  read_size(arm, path, key, value, seen);
}

void SettingsReader::read_size(std::string const& arm, std::string const& name, Place const& key, Tree const& value, Seen& seen) {
  std::string const at = arms_path + "." + arm + ".size." + name;
  if (is_duplicate(at, key, seen)) return;
  if (!is_size_name(name)) {
    problems_.add(key, "size '" + name + "' of arm '" + arm + "': letters, digits, '_', '-' and '.' are allowed");
    return;
  }
  if (value.kind != Tree::Kind::map || value.entries.empty()) {
    problems_.add(value.kind == Tree::Kind::null ? key : value.place,
                  "size '" + name + "' of arm '" + arm + "' sets no key; write for example " + name + ": {model.layers: 2}");
    return;
  }
  std::vector<SizeSettings>& sizes = find_arm(arm)->sizes;
  auto size = std::find_if(sizes.begin(), sizes.end(), [&](SizeSettings const& known) { return known.name == name; });
  if (size == sizes.end()) size = sizes.insert(sizes.end(), {name, key, {}});
  for (auto const& [path, content] : value.entries)
    if (!is_duplicate(at + "." + path.text, path.place, seen)) read_set(at, size->set, path.text, path.place, content, seen);
}

void SettingsReader::read_set(std::string const& at, std::vector<Setting>& set, std::string const& path, Place const& key,
                              Tree const& value, Seen& seen) {
  ConfigField const* const field = find_field(path);
  if (field == nullptr && !is_section(path)) return unknown_key(path, key, std::string(section_of(path)));
  if (field == nullptr && value.kind == Tree::Kind::map) {
    for (auto const& [name, content] : value.entries) {
      std::string const inner = path + "." + name.text;
      if (!is_duplicate(at + "." + inner, name.place, seen)) read_set(at, set, inner, name.place, content, seen);
    }
    return;
  }
  if (field == nullptr) {
    problems_.add(key, "'" + path + "' holds keys: " + path + ": " + (path == "depth" ? "{kind: mod}" : "{...}"));
    return;
  }
  if (!arm_may_set(path)) {
    problems_.add(key, "an arm cannot set '" + path +
                           "': arms differ in model, depth and train (all but train.budget), or they could not be compared");
    return;
  }
  put(set, {path, value, key});
}

void SettingsReader::read_tuned_key(std::string const& path, Place const& key, Tree const& value, Seen& seen) {
  std::string const name = below(path, tuned_path);
  ConfigField const* const field = find_field(name);
  if (field == nullptr && (name.empty() || is_section(name))) {
    if (value.kind == Tree::Kind::null) return;
    if (value.kind == Tree::Kind::map) return read_map(path, value, seen);
    return no_map(path, value, "{train.lr: [1e-3, 2e-3, 4e-3]}");
  }
  if (field == nullptr) return unknown_key(name, key, std::string(section_of(name)));
  if (!arm_may_set(name)) {
    problems_.add(key, "'" + name + "' cannot be tuned: only what an arm may set can (model, depth and train, but for train.budget)");
  } else if (value.kind != Tree::Kind::list || value.items.size() < 2) {
    problems_.add(value.kind == Tree::Kind::null ? key : value.place,
                  path + ": is a list of two values to try or more, such as [1e-3, 2e-3, 4e-3]");
  } else {
    put(settings_.tuned, {name, value, key});
  }
}

void SettingsReader::read_choice_of(std::string const& path, Place const& key, Tree const& value, Seen& seen) {
  std::string const arm = below(path, choice_path);
  if (arm.empty()) {
    if (value.kind == Tree::Kind::null) return;
    if (value.kind == Tree::Kind::map) return read_map(path, value, seen);
    return no_map(path, value, "{deep: dense}");
  }
  if (value.kind != Tree::Kind::scalar || value.text.empty()) {
    problems_.add(value.kind == Tree::Kind::null ? key : value.place, path + ": is the name of the arm whose choice " + arm + " takes");
    return;
  }
  settings_.choice_of[arm] = {arm, value, key};
}

}  // namespace isobath
