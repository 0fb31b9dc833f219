// The configuration of one run of an experiment.
#include <algorithm>

#include "config/check.h"
#include "config/experiment_runs.h"
#include "config/io.h"
#include "config/tree.h"
#include "config/values.h"
#include "core/error.h"

namespace isobath {
namespace {

// "runs/books/{arm}/seed-{seed}" for one run.
std::string of_run(std::string text, RunId const& run) {
  for (auto const& [word, value] : {std::pair(std::string("{arm}"), run.arm), std::pair(std::string("{size}"), run.size),
                                    std::pair(std::string("{seed}"), std::to_string(run.seed))})
    for (size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += value.size()) text.replace(at, word.size(), value);
  return text;
}

std::string known_names(auto const& all, std::string const& what) {
  std::string names;
  for (auto const& one : all) names += (names.empty() ? "" : ", ") + one.name;
  return names.empty() ? "" : " (" + what + ": " + names + ")";
}

void apply(std::vector<Assignment> const& set, std::string const& who, LoadedConfig& loaded, Problems& problems) {
  for (Assignment const& assignment : set) {
    std::string const origin = who + " (" + assignment.where + ")";
    auto const source = std::make_shared<Source const>(Source{origin, {}, false});
    ConfigField const* const field = find_field(assignment.path);
    if (field == nullptr || !arm_may_set(assignment.path)) {
      problems.add({source, 1, 1}, "an arm cannot set '" + assignment.path + "'");
      continue;
    }
    Tree const value = parse_tree(assignment.value, source, problems);
    if (auto const wrong = assign(*field, field->at(loaded.config), value))
      problems.add({source, 1, 1}, assignment.path + ": " + wrong->message);
    loaded.origins[assignment.path] = origin;
  }
}

}  // namespace

LoadedConfig arm_config(LoadedConfig const& base, RunId const& run, std::vector<Assignment> const& tuned) {
  auto const& arms = base.config.compare.arms;
  auto const found = std::find_if(arms.begin(), arms.end(), [&](ArmConfig const& candidate) { return candidate.name == run.arm; });
  if (found == arms.end()) throw ConfigError({"compare.arms: error: there is no arm '" + run.arm + "'" + known_names(arms, "arms")});
  SizeConfig const* const size = found->size(run.size);
  if (!run.size.empty() && size == nullptr)
    throw ConfigError({"compare.arms: error: arm '" + run.arm + "' has no size '" + run.size + "'" + known_names(found->sizes, "sizes")});
  LoadedConfig loaded = base;
  Config& config = loaded.config;
  Problems problems;
  apply(found->set, "arm " + run.arm, loaded, problems);
  if (size != nullptr) apply(size->set, "size " + run.size + " of arm " + run.arm, loaded, problems);
  apply(tuned, "tuned for arm " + run.arm, loaded, problems);
  if (run.budget) {
    config.train.budget = *run.budget;
    loaded.origins["train.budget"] = run.trial.empty() ? "compare.budgets" : "compare.tune.share";
  }
  config.name = base.config.name + "/" + run.path();
  config.seed = run.seed;
  config.train.init_from = of_run(config.train.init_from, run);
  config.compare = {};
  std::erase_if(loaded.origins, [](auto const& entry) { return entry.first.starts_with("compare."); });
  loaded.origins["name"] = loaded.origins["seed"] = "arm " + run.arm + ", seed " + std::to_string(run.seed);
  problems.throw_if_any();
  if (loaded.look_up) loaded.look_up(config);
  for (Contradiction const& contradiction : find_contradictions(config))
    problems.add("arm " + run.arm + ": error: " + contradiction.message);
  problems.throw_if_any();
  return loaded;
}

}  // namespace isobath
