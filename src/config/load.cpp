#include <algorithm>
#include <set>

#include "config/check.h"
#include "config/settings.h"
#include "config/values.h"
#include "core/error.h"
#include "core/files.h"

namespace isobath {
namespace {

using Places = std::map<std::string, Place>;

// Points at the first of the keys involved that somebody wrote; `fallback` when all of them are defaults.
Place place_of(Contradiction const& contradiction, Places const& places, Place const& fallback) {
  for (std::string const& path : contradiction.paths) {
    if (auto const found = places.find(path); found != places.end()) return found->second;
  }
  return fallback;
}

class Loading {
 public:
  Loading(Settings const& settings, Place const& whole, std::vector<ConfigCheck> const& extra_checks, Problems& problems)
      : settings_(settings), whole_(whole), extra_checks_(extra_checks), problems_(problems) {}

  LoadedConfig run() {
    LoadedConfig loaded;
    for (auto const& [path, setting] : settings_.values) {
      ConfigField const& field = *find_field(path);
      put(field, field.at(loaded.config), setting, path);
      loaded.origins[path] = setting.value.place.text();
      places_[path] = setting.value.place;
    }
    for (ArmSettings const& arm : settings_.arms) add_arm(arm, loaded);
    for (Setting const& setting : settings_.tuned) add_tuned(setting, loaded);
    for (auto const& [arm, setting] : settings_.choice_of) {
      std::string const at = "compare.tune.as." + arm;
      places_[at] = setting.value.place;
      loaded.origins[at] = setting.value.place.text();
      loaded.config.compare.tune.choice_of[arm] = setting.value.text;
    }
    report(find_contradictions(loaded.config, extra_checks_), "", places_);
    for (ArmSettings const& arm : settings_.arms) check_arm(arm, loaded.config);
    return loaded;
  }

  bool is_bad(std::string const& path) const { return bad_.contains(path); }
  Places const& places() const { return places_; }

 private:
  void put(Field const& field, FieldRef target, Setting const& setting, std::string const& path) {
    if (auto const wrong = assign(field, target, setting.value)) {
      problems_.add(wrong->place, path + ": " + wrong->message);
      bad_.insert(path);
    }
  }

  void add_arm(ArmSettings const& settings, LoadedConfig& loaded) {
    std::string const at = "compare.arms." + settings.name;
    places_[at] = settings.place;
    if (!places_.contains("compare.arms")) places_["compare.arms"] = settings.place;
    loaded.origins[at] = settings.place.text();
    ArmConfig arm;
    arm.name = settings.name;
    take_set(settings.set, at + ".set.", arm.set, loaded);
    for (SizeSettings const& size : settings.sizes) {
      std::string const path = at + ".size." + size.name;
      places_[path] = size.place;
      loaded.origins[path] = size.place.text();
      take_set(size.set, path + ".", arm.sizes.emplace_back(SizeConfig{size.name, {}}).set, loaded);
    }
    for (MatchField const& field : match_fields()) {
      auto const found = settings.match.find(field.path);
      if (found == settings.match.end()) continue;
      std::string const path = at + ".match." + field.path;
      put(field, field.at(arm.match), found->second, path);
      places_[path] = found->second.value.place;
      loaded.origins[path] = found->second.value.place.text();
    }
    if (!settings.match.empty() && !settings.match.contains("forward_flops_of") && !settings.match.contains("tokens_of")) {
      problems_.add(settings.match.begin()->second.key, "match: needs forward_flops_of: or tokens_of: and the name of an arm");
    }
    for (ArmField const& field : arm_fields()) {
      auto const found = settings.own.find(field.path);
      if (found == settings.own.end()) continue;
      std::string const path = at + "." + field.path;
      put(field, field.at(arm), found->second, path);
      places_[path] = found->second.value.place;
      loaded.origins[path] = found->second.value.place.text();
    }
    loaded.config.compare.arms.push_back(std::move(arm));
  }

  void take_set(std::vector<Setting> const& settings, std::string const& at, std::vector<Assignment>& set, LoadedConfig& loaded) {
    for (Setting const& setting : settings) {
      set.push_back({setting.path, yaml_flow(setting.value), setting.value.place.text()});
      places_[at + setting.path] = setting.value.place;
      loaded.origins[at + setting.path] = setting.value.place.text();
    }
  }

  // Every value must be one that the key takes, and another one than those before.
  void add_tuned(Setting const& setting, LoadedConfig& loaded) {
    std::string const at = "compare.tune.keys." + setting.path;
    places_[at] = setting.value.place;
    loaded.origins[at] = setting.value.place.text();
    ConfigField const& field = *find_field(setting.path);
    TunedKey key{setting.path, {}};
    std::set<std::string> known;
    for (Tree const& value : setting.value.items) {
      Config scratch;
      key.values.push_back(yaml_flow(value));
      if (auto const wrong = assign(field, field.at(scratch), value)) {
        problems_.add(wrong->place, at + ": " + wrong->message);
      } else if (!known.insert(format_value(field, field.at(scratch))).second) {
        problems_.add(value.place, at + ": " + key.values.back() + " stands twice");
      }
    }
    loaded.config.compare.tune.keys.push_back(std::move(key));
  }

  // An arm as it runs, and each of its sizes.
  void check_arm(ArmSettings const& arm, Config const& base) {
    check_variant("arm '" + arm.name + "': ", arm.set, base);
    for (SizeSettings const& size : arm.sizes) {
      std::vector<Setting> set = arm.set;
      set.insert(set.end(), size.set.begin(), size.set.end());
      check_variant("arm '" + arm.name + "', size '" + size.name + "': ", set, base);
    }
  }

  // The experiment with these settings. Problems that the base has as well are not repeated.
  void check_variant(std::string const& prefix, std::vector<Setting> const& set, Config const& base) {
    Config config = base;
    Places places = places_;
    for (Setting const& setting : set) {
      ConfigField const& field = *find_field(setting.path);
      put(field, field.at(config), setting, setting.path);
      places[setting.path] = setting.value.place;
    }
    std::set<std::string> known;
    for (Contradiction const& contradiction : find_contradictions(base, extra_checks_)) known.insert(contradiction.message);
    std::vector<Contradiction> own;
    for (Contradiction& contradiction : find_contradictions(config, extra_checks_)) {
      if (known.contains(contradiction.message)) continue;
      // Point at what the arm changed, not at the base it inherits.
      std::stable_partition(contradiction.paths.begin(), contradiction.paths.end(), [&](std::string const& path) {
        return std::any_of(set.begin(), set.end(), [&](Setting const& setting) { return setting.path == path; });
      });
      own.push_back(std::move(contradiction));
    }
    report(own, prefix, places);
  }

  void report(std::vector<Contradiction> const& contradictions, std::string const& prefix, Places const& places) {
    for (Contradiction const& contradiction : contradictions) {
      bool const follows =
          std::any_of(contradiction.paths.begin(), contradiction.paths.end(), [&](std::string const& path) { return is_bad(path); });
      if (!follows) problems_.add(place_of(contradiction, places, whole_), prefix + contradiction.message);
    }
  }

  Settings const& settings_;
  Place whole_;
  std::vector<ConfigCheck> const& extra_checks_;
  Problems& problems_;
  Places places_;
  std::set<std::string> bad_;  // keys whose value was refused; contradictions that involve them are not reported
};

}  // namespace

LoadedConfig load_config(fs::path const& file, std::vector<std::string> const& overrides, std::vector<ConfigCheck> const& extra_checks) {
  Problems problems;
  SettingsReader reader(problems);
  if (!file.empty()) reader.read_file(file);
  for (std::string const& text : overrides) reader.read_override(text);

  auto const whole = std::make_shared<Source const>(Source{file.empty() ? "config" : file.string(), {}, false});
  Loading loading(reader.settings(), {whole, 1, 1}, extra_checks, problems);
  LoadedConfig loaded = loading.run();
  if (!loading.is_bad("tokenizer.kind") && loading.places().contains("tokenizer.kind")) {
    std::string const wrong = why_no_tokenizer(loaded.config.tokenizer.kind, file);
    if (!wrong.empty()) problems.add(loading.places().at("tokenizer.kind"), "tokenizer.kind: " + wrong);
  }
  problems.throw_if_any();
  return loaded;
}

std::map<std::string, std::string> written_values(std::filesystem::path const& file, std::vector<std::string> const& overrides) {
  Problems unsaid;
  SettingsReader reader(unsaid);
  if (!file.empty()) reader.read_file(file);
  for (std::string const& text : overrides) reader.read_override(text);
  std::map<std::string, std::string> values;
  for (auto const& [path, setting] : reader.settings().values)
    values[path] = setting.value.kind == Tree::Kind::list ? yaml_flow(setting.value) : setting.value.text;
  return values;
}

}  // namespace isobath
