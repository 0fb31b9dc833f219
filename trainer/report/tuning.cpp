#include "trainer/report/tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/columns.h"
#include "core/error.h"
#include "format/total.h"
#include "trainer/metrics/metric.h"

namespace isobath {
namespace {

using nlohmann::ordered_json;

ordered_json settings_json(TunedSettings const& settings) {
  ordered_json json = ordered_json::object();
  for (auto const& [key, value] : settings) json[key] = value;
  return json;
}

ordered_json trial_json(TrialResult const& trial) {
  ordered_json losses = ordered_json::array();
  for (double const loss : trial.losses) losses.push_back(finite_or_null(loss));
  return {{"name", trial.name},
          {"settings", settings_json(trial.settings)},
          {"losses", std::move(losses)},
          {"loss_causal", finite_or_null(trial.loss())},
          {"train_flops", total_json(trial.train_flops)}};
}

ordered_json arm_json(TunedArm const& arm) {
  ordered_json trials = ordered_json::array(), edges = ordered_json::array();
  for (TrialResult const& trial : arm.trials) trials.push_back(trial_json(trial));
  for (TuningEdge const& edge : arm.edges)
    edges.push_back({{"key", edge.key}, {"value", edge.value}, {"side", edge.is_largest ? "largest" : "smallest"}});
  return {{"arm", arm.arm},
          {"chosen", arm.choice().name},
          {"settings", settings_json(arm.choice().settings)},
          {"edges", std::move(edges)},
          {"trials", std::move(trials)}};
}

TrialResult read_trial(ordered_json const& json) {
  TrialResult trial;
  trial.name = json.at("name").get<std::string>();
  for (auto const& [key, value] : json.at("settings").items()) trial.settings.emplace_back(key, value.get<std::string>());
  for (ordered_json const& loss : json.at("losses"))
    trial.losses.push_back(loss.is_number() ? loss.get<double>() : std::numeric_limits<double>::quiet_NaN());
  trial.train_flops = read_total(json.at("train_flops")).value_or(0);
  return trial;
}

TunedArm read_tuned_arm(ordered_json const& json) {
  TunedArm arm;
  arm.arm = json.at("arm").get<std::string>();
  for (ordered_json const& trial : json.at("trials")) {
    arm.trials.push_back(read_trial(trial));
    if (arm.trials.back().name == json.at("chosen")) arm.chosen = arm.trials.size() - 1;
  }
  if (arm.trials.empty()) throw Error(ExitCode::data, "arm '" + arm.arm + "' has no trials");
  for (ordered_json const& edge : json.at("edges"))
    arm.edges.push_back({edge.at("key").get<std::string>(), edge.at("value").get<std::string>(), edge.at("side") == "largest"});
  return arm;
}

std::string settings_text(TunedSettings const& settings) {
  std::string text;
  for (auto const& [key, value] : settings) text += (text.empty() ? "" : ", ") + key + " " + value;
  return text;
}

}  // namespace

double TrialResult::loss() const {
  if (std::any_of(losses.begin(), losses.end(), [](double loss) { return !std::isfinite(loss); }) || losses.empty())
    return std::numeric_limits<double>::infinity();
  return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
}

Int128 Tuning::train_flops() const {
  Int128 sum;
  for (TunedArm const& arm : arms)
    for (TrialResult const& trial : arm.trials) sum += trial.train_flops;
  return sum;
}

size_t Tuning::trials() const {
  size_t count = 0;
  for (TunedArm const& arm : arms)
    for (TrialResult const& trial : arm.trials) count += trial.losses.size();
  return count;
}

TrialResult const* Tuning::choice(std::string const& arm) const {
  auto const other = choice_of.find(arm);
  std::string const& tuned = other == choice_of.end() ? arm : other->second;
  for (TunedArm const& one : arms)
    if (one.arm == tuned) return &one.choice();
  return nullptr;
}

std::vector<std::string> Tuning::warnings() const {
  std::vector<std::string> found;
  for (TunedArm const& arm : arms)
    for (TuningEdge const& edge : arm.edges)
      found.push_back(fmt::format("{}: the best {}, {}, is the {} tried: {} ones may be better still", arm.arm, edge.key, edge.value,
                                  edge.is_largest ? "largest" : "smallest", edge.is_largest ? "larger" : "smaller"));
  return found;
}

Tuning read_tuning(fs::path const& file) {
  try {
    ordered_json const json = ordered_json::parse(read_file(file));
    Tuning tuning;
    tuning.asked = json.at("asked").get<std::map<std::string, std::string>>();
    tuning.choice_of = json.at("as").get<std::map<std::string, std::string>>();
    for (ordered_json const& arm : json.at("arms")) tuning.arms.push_back(read_tuned_arm(arm));
    return tuning;
  } catch (std::exception const& error) {
    throw Error(ExitCode::data, file.string() + " holds no tuning: " + error.what() + "; remove it to choose again from the trials");
  }
}

ordered_json tuning_json(Tuning const& tuning) {
  ordered_json arms = ordered_json::array();
  for (TunedArm const& arm : tuning.arms) arms.push_back(arm_json(arm));
  return {{"format", 1},
          {"asked", tuning.asked},
          {"as", tuning.choice_of},
          {"trials", tuning.trials()},
          {"train_flops", total_json(tuning.train_flops())},
          {"arms", std::move(arms)}};
}

std::string tuning_table(Tuning const& tuning, double share_of_all) {
  std::vector<std::vector<std::string>> rows{{"tuned arm", "trials", "chosen", "causal loss", "next best", "FLOPs"}};
  for (TunedArm const& arm : tuning.arms) {
    double next = std::numeric_limits<double>::infinity();
    Int128 flops;
    for (size_t i = 0; i < arm.trials.size(); ++i) {
      if (i != arm.chosen) next = std::min(next, arm.trials[i].loss());
      flops += arm.trials[i].train_flops;
    }
    rows.push_back({arm.arm, std::to_string(arm.trials.size()), settings_text(arm.choice().settings),
                    fmt::format("{:.4f}", arm.choice().loss()), std::isfinite(next) ? fmt::format("{:.4f}", next) : "-",
                    fmt::format("{:.3g}", static_cast<double>(flops))});
  }
  std::string text = aligned_columns(rows);
  for (auto const& [arm, other] : tuning.choice_of) text += arm + " takes the choice of " + other + "\n";
  return text + fmt::format("tuning took {:.3g} FLOPs, {:.1f} % of the whole experiment\n", static_cast<double>(tuning.train_flops()),
                            100 * share_of_all);
}

}  // namespace isobath
