#include "trainer/report/registered.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <regex>
#include <set>

#include "config/experiment_runs.h"
#include "config/fields.h"
#include "config/io.h"
#include "config/values.h"
#include "core/error.h"

namespace isobath {
namespace {

constexpr char const* file_name = "registered.yaml";

bool any_run_has_begun(fs::path const& folder, Config const& experiment) {
  std::vector<RunId> const runs = experiment_runs(experiment.compare);
  return std::any_of(runs.begin(), runs.end(), [&](RunId const& run) { return fs::exists(folder / run.path() / "metrics.jsonl"); });
}

// "seed 7", "seeds 3 to 5", "seeds 1, 2, 7": three or more in a row are a range.
std::string seeds_text(std::vector<int64_t> seeds) {
  std::sort(seeds.begin(), seeds.end());
  std::string text;
  for (size_t i = 0; i < seeds.size();) {
    size_t last = i;
    while (last + 1 < seeds.size() && seeds[last + 1] == seeds[last] + 1) ++last;
    if (last < i + 2) last = i;
    text += (text.empty() ? "" : ", ") + std::to_string(seeds[i]) + (last > i ? " to " + std::to_string(seeds[last]) : "");
    i = last + 1;
  }
  return (seeds.size() == 1 ? "seed " : "seeds ") + text;
}

// Those of `all` that `others` lack.
std::vector<int64_t> missing_from(std::vector<int64_t> const& others, std::vector<int64_t> const& all) {
  std::vector<int64_t> found;
  for (int64_t const seed : all)
    if (std::find(others.begin(), others.end(), seed) == others.end()) found.push_back(seed);
  return found;
}

void add_seeds(std::vector<int64_t> const& seeds, std::string const& what, std::vector<std::string>& changes) {
  if (!seeds.empty()) changes.push_back(fmt::format("{} {} {}", seeds_text(seeds), seeds.size() == 1 ? "was" : "were", what));
}

ArmConfig const* arm_named(Config const& config, std::string const& name) {
  auto const& arms = config.compare.arms;
  auto const found = std::find_if(arms.begin(), arms.end(), [&](ArmConfig const& arm) { return arm.name == name; });
  return found == arms.end() ? nullptr : &*found;
}

void add_arms(Config const& before, Config const& now, std::vector<std::string>& changes) {
  for (ArmConfig const& arm : now.compare.arms) {
    ArmConfig const* const old = arm_named(before, arm.name);
    if (!old)
      changes.push_back(fmt::format("arm {} was added", arm.name));
    else if (arm_text(*old) != arm_text(arm))
      changes.push_back(fmt::format("arm {}: {} -> {}", arm.name, arm_text(*old), arm_text(arm)));
  }
  for (ArmConfig const& arm : before.compare.arms)
    if (!arm_named(now, arm.name)) changes.push_back(fmt::format("arm {} was removed", arm.name));
}

std::vector<std::pair<std::string, std::string>> settings_of(Config experiment) {  // NOLINT(performance-unnecessary-value-param)
  static std::set<std::string> const always{"train.budget", "train.batch_tokens", "train.lr"};
  std::vector<std::pair<std::string, std::string>> settings;
  Config defaults;
  for (ConfigField const& field : config_fields()) {
    std::string const value = format_value(field, field.at(experiment));
    if (value != format_value(field, field.at(defaults)) || field.path.starts_with("compare.") || always.contains(field.path))
      settings.emplace_back(field.path, value);
  }
  return settings;
}

}  // namespace

void keep_registered(fs::path const& folder, Config const& experiment, std::string const& revision) {
  if (fs::exists(folder / file_name) || any_run_has_begun(folder, experiment)) return;
  auto const now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  std::string const time = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(now)));
  write_file_atomic(folder / file_name, fmt::format("# registered {} by isobath {}\n{}", time, revision, to_yaml(experiment)));
}

std::optional<Registered> read_registered(fs::path const& folder, Config const& now) {
  fs::path const path = folder / file_name;
  if (!fs::exists(path)) return std::nullopt;
  std::string const text = read_file(path);
  size_t const end = std::min(text.find('\n'), text.size());
  Registered registered;
  registered.yaml = text.substr(std::min(end + 1, text.size()));
  std::string const head = text.substr(0, end);
  if (std::smatch parts; std::regex_match(head, parts, std::regex("# registered (\\S+) by isobath (.+)"))) {
    registered.time = parts[1];
    registered.revision = parts[2];
  }
  try {
    registered.experiment = load_config(path, {}).config;
    registered.settings = settings_of(*registered.experiment);
    registered.changes = changes_in_words(*registered.experiment, now);
  } catch (Error const& error) {
    std::string const what = error.what();
    registered.changes = {"not known, this program cannot read registered.yaml: " + what.substr(0, what.find('\n'))};
  }
  return registered;
}

std::vector<std::string> changes_in_words(Config const& registered, Config const& now) {
  std::vector<std::string> changes;
  add_arms(registered, now, changes);
  add_seeds(missing_from(registered.compare.seeds, now.compare.seeds), "added", changes);
  add_seeds(missing_from(now.compare.seeds, registered.compare.seeds), "removed", changes);
  for (ConfigDifference const& one : diff_configs(registered, now))
    if (one.path != "compare.arms" && one.path != "compare.seeds")
      changes.push_back(fmt::format("{}: {} -> {}", one.path, one.before, one.after));
  return changes;
}

}  // namespace isobath
