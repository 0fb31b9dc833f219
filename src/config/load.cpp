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
    for (Setting const& setting : settings.set) {
      arm.set.push_back({setting.path, yaml_flow(setting.value), setting.value.place.text()});
      loaded.origins[at + ".set." + setting.path] = setting.value.place.text();
    }
    for (MatchField const& field : match_fields()) {
      auto const found = settings.match.find(field.path);
      if (found == settings.match.end()) continue;
      std::string const path = at + ".match." + field.path;
      put(field, field.at(arm.match), found->second, path);
      places_[path] = found->second.value.place;
      loaded.origins[path] = found->second.value.place.text();
    }
    if (!settings.match.empty() && !settings.match.contains("forward_flops_of")) {
      problems_.add(settings.match.begin()->second.key, "match: needs forward_flops_of: and the name of an arm");
    }
    loaded.config.compare.arms.push_back(std::move(arm));
  }

  // The experiment as this arm runs it. Problems that the base has as well are not repeated.
  void check_arm(ArmSettings const& arm, Config const& base) {
    Config config = base;
    Places places = places_;
    for (Setting const& setting : arm.set) {
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
        return std::any_of(arm.set.begin(), arm.set.end(), [&](Setting const& setting) { return setting.path == path; });
      });
      own.push_back(std::move(contradiction));
    }
    report(own, "arm '" + arm.name + "': ", places);
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
  for (auto const& [path, setting] : reader.settings().values) values[path] = setting.value.text;
  return values;
}

namespace {

// "runs/books/{arm}/seed-{seed}" for one run.
std::string of_run(std::string text, std::string const& arm, int64_t seed) {
  for (auto const& [word, value] : {std::pair(std::string("{arm}"), arm), std::pair(std::string("{seed}"), std::to_string(seed))})
    for (size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += value.size()) text.replace(at, word.size(), value);
  return text;
}

}  // namespace

LoadedConfig arm_config(LoadedConfig const& base, std::string const& arm, int64_t seed) {
  auto const& arms = base.config.compare.arms;
  auto const found = std::find_if(arms.begin(), arms.end(), [&](ArmConfig const& candidate) { return candidate.name == arm; });
  if (found == arms.end()) {
    std::string names;
    for (ArmConfig const& candidate : arms) names += (names.empty() ? "" : ", ") + candidate.name;
    throw ConfigError({"compare.arms: error: there is no arm '" + arm + "'" + (names.empty() ? "" : " (arms: " + names + ")")});
  }
  LoadedConfig loaded = base;
  Config& config = loaded.config;
  Problems problems;
  for (Assignment const& assignment : found->set) {
    std::string const origin = "arm " + arm + " (" + assignment.where + ")";
    auto const source = std::make_shared<Source const>(Source{origin, {}, false});
    ConfigField const* const field = find_field(assignment.path);
    if (field == nullptr || !arm_may_set(assignment.path)) {
      problems.add({source, 1, 1}, "an arm cannot set '" + assignment.path + "'");
      continue;
    }
    Tree const value = parse_tree(assignment.value, source, problems);
    if (auto const wrong = assign(*field, field->at(config), value)) problems.add({source, 1, 1}, assignment.path + ": " + wrong->message);
    loaded.origins[assignment.path] = origin;
  }
  config.name = base.config.name + "/" + arm + "/seed-" + std::to_string(seed);
  config.seed = seed;
  config.train.init_from = of_run(config.train.init_from, arm, seed);
  config.compare = {};
  std::erase_if(loaded.origins, [](auto const& entry) { return entry.first.starts_with("compare."); });
  loaded.origins["name"] = loaded.origins["seed"] = "arm " + arm + ", seed " + std::to_string(seed);
  problems.throw_if_any();
  if (loaded.look_up) loaded.look_up(config);
  for (Contradiction const& contradiction : find_contradictions(config)) problems.add("arm " + arm + ": error: " + contradiction.message);
  problems.throw_if_any();
  return loaded;
}

}  // namespace isobath
