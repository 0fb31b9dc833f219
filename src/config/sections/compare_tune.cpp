#include "config/sections/compare_tune.h"

#include <algorithm>
#include <set>

#include "config/row.h"
#include "config/sections/sections.h"
#include "config/sections/sweep.h"
#include "config/values.h"

namespace isobath {
namespace {

bool sets(std::vector<Assignment> const& set, std::string const& path) {
  return std::any_of(set.begin(), set.end(), [&](Assignment const& one) { return one.path == path; });
}

// A tuned value replaces what the arm sets, which would then mean nothing.
void check_tuned_arm(ArmConfig const& arm, TuneConfig const& tune, std::vector<Contradiction>& found) {
  std::string const at = "compare.arms." + arm.name;
  for (TunedKey const& key : tune.keys) {
    std::string const tuned = "is tuned (compare.tune.keys." + key.path + ")";
    if (sets(arm.set, key.path))
      found.push_back({{at + ".set." + key.path, at}, "arm '" + arm.name + "' sets " + key.path + ", which " + tuned});
    for (SizeConfig const& size : arm.sizes)
      if (sets(size.set, key.path))
        found.push_back(
            {{at + ".size." + size.name, at}, "size '" + size.name + "' of arm '" + arm.name + "' sets " + key.path + ", which " + tuned});
  }
}

// Who is tuned, and who takes whose choice.
void check_tuned_names(CompareConfig const& compare, std::vector<Contradiction>& found) {
  TuneConfig const& tune = compare.tune;
  std::vector<std::string> names;
  for (ArmConfig const& arm : compare.arms) names.push_back(arm.name);
  auto const is_arm = [&](std::string const& name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  auto const none = [&](std::string const& name) {
    std::string const near = nearest(name, names);
    return "'" + name + "' is none of the arms" + (near.empty() ? "" : " (did you mean '" + near + "'?)");
  };
  for (std::string const& name : tune.arms)
    if (!is_arm(name)) found.push_back({{"compare.tune.arms"}, "compare.tune.arms: " + none(name)});
  for (auto const& [arm, other] : tune.choice_of) {
    std::string const at = "compare.tune.as." + arm;
    if (!is_arm(arm)) found.push_back({{at}, at + ": " + none(arm)});
    if (!is_arm(other))
      found.push_back({{at}, at + ": " + none(other)});
    else if (!tune.tunes(other))
      found.push_back({{at}, at + ": '" + other + "' is not tuned itself"});
    if (tune.tunes(arm)) found.push_back({{at}, at + ": '" + arm + "' is tuned itself (compare.tune.arms)"});
  }
}

}  // namespace

bool TuneConfig::tunes(std::string const& arm) const {
  if (arms.empty()) return !choice_of.contains(arm);
  return std::find(arms.begin(), arms.end(), arm) != arms.end();
}

std::vector<ConfigField> tune_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(compare.tune.trials), integer, free,
        "Settings that every tuned arm tries before the comparison. auto: all combinations of compare.tune.keys; fewer are drawn with "
        "seed.")
          .between(2, 10000)
          .zero_is("auto"),
      R(KEY(compare.tune.seeds), integer_list, free, "Every setting is tried once with each; none of them is in compare.seeds.")
          .between(0, largest_count),
      R(KEY(compare.tune.share), fraction, free, "Length of a trial, as a share of the run's budget.").above(0),
      R(KEY(compare.tune.extend), boolean, free,
        "Where the best value is the smallest or largest tried, one more is tried beyond it, in every arm, up to three times."),
      R(KEY(compare.tune.arms), text_list, free, "Arms that are tuned; empty: all but those that take another's choice (compare.tune.as).")
          .may_be_empty_too(),
  };
}

void check_tune(CompareConfig const& compare, std::vector<Contradiction>& found) {
  TuneConfig const& tune = compare.tune;
  bool const is_asked = !tune.arms.empty() || !tune.choice_of.empty() || tune.trials > 0;
  if (!tune.is_on()) {
    if (is_asked)
      found.push_back({{"compare.tune.arms", "compare.tune.trials"},
                       "compare.tune has no keys to tune; give compare.tune.keys: {train.lr: [1e-3, 2e-3, 4e-3]}"});
    return;
  }
  check_tuned_names(compare, found);
  for (ArmConfig const& arm : compare.arms) {
    if (arm.name == "tune")
      found.push_back({{"compare.arms.tune"}, "an arm named 'tune' would share its folder with the trials of compare.tune"});
    if (tune.tunes(arm.name) || tune.choice_of.contains(arm.name)) check_tuned_arm(arm, tune, found);
  }
  std::set<int64_t> seen;
  for (int64_t const seed : tune.seeds) {
    if (!seen.insert(seed).second)
      found.push_back({{"compare.tune.seeds"}, "seed " + std::to_string(seed) + " stands twice in compare.tune.seeds"});
    if (std::find(compare.seeds.begin(), compare.seeds.end(), seed) != compare.seeds.end())
      found.push_back({{"compare.tune.seeds"},
                       "seed " + std::to_string(seed) +
                           " of compare.tune.seeds is in compare.seeds, too: a setting chosen on a seed "
                           "looks better on it than it is"});
  }
}

}  // namespace isobath
