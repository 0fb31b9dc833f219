#include "config/sections/compare.h"

#include <algorithm>
#include <set>

#include "config/row.h"
#include "config/sections/sections.h"
#include "config/values.h"

namespace isobath {

std::vector<ConfigField> compare_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(compare.baseline), text, free, "Arm that the others are compared with; empty: the first.").may_be_empty_too(),
      R(KEY(compare.seeds), integer_list, free, "Every arm is trained once with each.").between(0, largest_count),
      R(KEY(compare.margin), fraction, free,
        "Losses that differ by less than this share count as equal: where no difference is found, the report says whether the arms are "
        "equal within it.")
          .above(0)
          .below(1),
      R(KEY(compare.jobs), integer, free, "Runs at a time, each with its share of the cores.").between(1, 1024),
  };
}

std::vector<MatchField> match_rows() {
  using R = Row<MatchConfig>;
  return {
      R(MATCH_KEY(forward_flops_of), Kind::text, ResumeClass::free,
        "The arm is resized until its forward pass costs what this arm's does, within 0.5 %."),
      R(MATCH_KEY(adjust), Kind::choice, ResumeClass::free,
        "What is resized. layers: the number of layers, then mlp_width for what is left; mlp_width: that alone."),
  };
}

void check_compare(Config const& config, std::vector<Contradiction>& found) {
  CompareConfig const& compare = config.compare;
  std::set<int64_t> seen;
  for (int64_t const seed : compare.seeds) {
    if (!seen.insert(seed).second) found.push_back({{"compare.seeds"}, "seed " + std::to_string(seed) + " stands twice in compare.seeds"});
  }
  std::vector<std::string> names;
  for (ArmConfig const& arm : compare.arms) names.push_back(arm.name);
  auto const arm_named = [&](std::string const& name) {
    auto const at = std::find(names.begin(), names.end(), name);
    return at == names.end() ? nullptr : &compare.arms[static_cast<size_t>(at - names.begin())];
  };
  auto const hint = [&](std::string const& name) {
    std::string const near = nearest(name, names);
    return near.empty() ? std::string() : " (did you mean '" + near + "'?)";
  };
  if (!compare.baseline.empty() && arm_named(compare.baseline) == nullptr) {
    found.push_back({{"compare.baseline"}, "compare.baseline '" + compare.baseline + "' is none of the arms" + hint(compare.baseline)});
  }
  for (ArmConfig const& arm : compare.arms) {
    std::string const& target = arm.match.forward_flops_of;
    if (target.empty()) continue;
    std::string const at = "compare.arms." + arm.name;
    ArmConfig const* const other = arm_named(target);
    std::string wrong;
    if (target == arm.name) {
      wrong = " is the arm itself";
    } else if (other == nullptr) {
      wrong = " is none of the arms" + hint(target);
    } else if (!other->match.forward_flops_of.empty()) {
      wrong = " has a match of its own; name an arm whose size is fixed";
    }
    if (!wrong.empty()) found.push_back({{at + ".match.forward_flops_of", at}, "forward_flops_of '" + target + "'" + wrong});
  }
}

}  // namespace isobath
