#include "trainer/report/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "config/fields.h"
#include "config/values.h"

namespace isobath {
namespace {

std::set<std::string> const always_shown{"train.budget", "train.batch_tokens", "train.lr"};
std::set<std::string> const never_shown{"name", "seed", "run_dir"};
std::set<std::string> const resized_by_match{"model.layers", "model.mlp_width"};

std::optional<double> number_in(std::string const& text) {
  double value = 0;
  char const* const end = text.data() + text.size();
  auto const [rest, error] = std::from_chars(text.data(), end, value);
  bool const whole = rest == end || (rest + 1 == end && *rest == '%');
  return error == std::errc() && whole ? std::optional(value) : std::nullopt;
}

// The arm with the lowest mean of what ranks the arms, among those with every seed.
std::optional<size_t> best_arm(Report const& report) {
  std::optional<size_t> best;
  if (report.ranked_by.empty()) return best;
  for (size_t i = 0; i < report.arms.size(); ++i) {
    ArmResult const& arm = report.arms[i];
    if (arm.runs.size() != report.seeds().size() || !std::isfinite(arm[report.ranked_by])) continue;
    if (!best || arm[report.ranked_by] < report.arms[*best][report.ranked_by]) best = i;
  }
  return best;
}

bool any_arm_sets(Report const& report, std::string const& key) {
  auto const& arms = report.experiment.compare.arms;
  return std::any_of(arms.begin(), arms.end(), [&](ArmConfig const& arm) {
    return std::any_of(arm.set.begin(), arm.set.end(), [&](Assignment const& one) { return one.path == key; });
  });
}

}  // namespace

std::vector<ArmSetting> arm_settings(Report const& report) {
  std::vector<ArmSetting> shown;
  for (ConfigField const& field : config_fields()) {
    if (never_shown.contains(field.path) || field.resume == ResumeClass::free) continue;
    ArmSetting setting{field.path, {}};
    Config defaults;
    bool const of_depth = field.path.starts_with("depth.") && field.path != "depth.kind";
    std::set<std::string> values;
    if (of_depth) values.insert(format_value(field, field.at(defaults)));
    for (ArmResult const& arm : report.arms) {
      Config config = arm.config();
      setting.values.push_back(of_depth && arm.dense() ? "" : format_value(field, field.at(config)));
      if (!setting.values.back().empty()) values.insert(setting.values.back());
    }
    if (always_shown.contains(field.path) || values.size() > 1 || any_arm_sets(report, field.path)) shown.push_back(std::move(setting));
  }
  return shown;
}

std::vector<std::string> sweep_edges(Report const& report) {
  std::vector<std::string> found;
  std::optional<size_t> const best = best_arm(report);
  if (!best) return found;
  std::vector<ArmSetting> const settings = arm_settings(report);
  bool const matched = std::any_of(report.experiment.compare.arms.begin(), report.experiment.compare.arms.end(),
                                   [](ArmConfig const& arm) { return !arm.match.forward_flops_of.empty(); });
  for (ArmSetting const& swept : settings) {
    auto const alike = [&](size_t arm) {
      return std::all_of(settings.begin(), settings.end(), [&](ArmSetting const& other) {
        return other.key == swept.key || (matched && resized_by_match.contains(other.key)) || other.values[arm] == other.values[*best];
      });
    };
    std::set<double> tried;
    for (size_t arm = 0; arm < report.arms.size(); ++arm)
      if (auto const value = number_in(swept.values[arm]); value && alike(arm)) tried.insert(*value);
    auto const ours = number_in(swept.values[*best]);
    if (!ours || tried.size() < 3) continue;
    bool const smallest = *ours == *tried.begin(), largest = *ours == *tried.rbegin();
    if (smallest || largest)
      found.push_back(fmt::format("{} is best at {}, the {} of {} values tried: {} values may be better still", swept.key,
                                  swept.values[*best], smallest ? "smallest" : "largest", tried.size(), smallest ? "smaller" : "larger"));
  }
  return found;
}

}  // namespace isobath
