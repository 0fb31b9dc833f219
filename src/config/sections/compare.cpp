#include "config/sections/compare.h"

#include <algorithm>
#include <set>

#include "config/row.h"
#include "config/sections/sections.h"
#include "config/sections/sweep.h"
#include "config/values.h"
#include "core/limits.h"

namespace isobath {

SizeConfig const* ArmConfig::size(std::string const& wanted) const {
  auto const found = std::find_if(sizes.begin(), sizes.end(), [&](SizeConfig const& size) { return size.name == wanted; });
  return found == sizes.end() ? nullptr : &*found;
}

std::string CompareConfig::baseline_arm() const { return !baseline.empty() || arms.empty() ? baseline : arms.front().name; }

int64_t CompareConfig::runs_at_a_time() const {
  if (jobs > 0) return jobs;
  return std::clamp<int64_t>(std::ssize(devices) / ranks_per_run, 1, shared_cores().value);
}

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
      R(KEY(compare.budgets), duration_list, free,
        "Every arm is trained with each in place of train.budget; their runs get folders of their own.")
          .above(0)
          .in({Unit::step, Unit::token, Unit::flop, Unit::epoch})
          .zero_is("none"),
      R(KEY(compare.jobs), integer, free,
        "Runs at a time, each with its share of the cores. auto: one, or as many as compare.devices are enough for.")
          .between(1, 1024)
          .zero_is("auto"),
      R(KEY(compare.ranks_per_run), integer, free,
        "Processes that train each run together (docs/distributed.md); of compare.devices each run takes so many.")
          .between(1, 1024),
      R(KEY(compare.devices), text_list, free,
        "Devices that the runs are handed round over, such as cuda:0 and cuda:1; empty: all run on device.")
          .may_be_empty_too(),
  };
}

std::vector<MatchField> match_rows() {
  using R = Row<MatchConfig>;
  return {
      R(MATCH_KEY(forward_flops_of), Kind::text, ResumeClass::free,
        "The arm is resized until its forward pass costs what this arm's does, within 0.5 %."),
      R(MATCH_KEY(adjust), Kind::choice, ResumeClass::free,
        "What is resized. layers: the number of layers, then mlp_width for what is left; mlp_width: that alone."),
      R(MATCH_KEY(tokens_of), Kind::text, ResumeClass::free,
        "A reference arm is trained on as many tokens as this arm, whatever they cost: a bound of what routing could gain."),
  };
}

std::vector<ArmField> arm_rows() {
  using R = Row<ArmConfig>;
  return {
      R(ARM_KEY(reference), Kind::boolean, ResumeClass::free,
        "true: the arm is shown beside the others and held against the arm of match.tokens_of, but is part of no verdict at equal FLOPs, "
        "time or cost."),
  };
}

void check_compare(Config const& config, std::vector<Contradiction>& found) {
  CompareConfig const& compare = config.compare;
  std::set<int64_t> seen;
  for (int64_t const seed : compare.seeds) {
    if (!seen.insert(seed).second) found.push_back({{"compare.seeds"}, "seed " + std::to_string(seed) + " stands twice in compare.seeds"});
  }
  check_sweep(compare, found);
  check_tune(compare, found);
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
    std::string const at = "compare.arms." + arm.name;
    bool const by_tokens = arm.match.forward_flops_of.empty();
    std::string const key = by_tokens ? "tokens_of" : "forward_flops_of",
                      &target = by_tokens ? arm.match.tokens_of : arm.match.forward_flops_of;
    if (arm.reference && arm.name == (compare.baseline.empty() ? names.front() : compare.baseline))
      found.push_back({{at + ".reference", at}, "the baseline '" + arm.name + "' cannot be a reference, which is part of no verdict"});
    if (target.empty()) continue;
    if (!by_tokens && !arm.match.tokens_of.empty())
      found.push_back({{at + ".match.tokens_of", at}, "match has forward_flops_of or tokens_of, not both"});
    if (by_tokens && !arm.reference)
      found.push_back(
          {{at + ".match.tokens_of", at}, "tokens_of makes an arm spend other FLOPs than the budget: mark it `reference: true`"});
    ArmConfig const* const other = arm_named(target);
    std::string wrong;
    if (target == arm.name) {
      wrong = " is the arm itself";
    } else if (other == nullptr) {
      wrong = " is none of the arms" + hint(target);
    } else if (by_tokens && other->reference) {
      wrong = " is a reference, too; name an arm that is trained on the budget";
    } else if (!by_tokens && !other->match.forward_flops_of.empty()) {
      wrong = " has a match of its own; name an arm whose size is fixed";
    }
    if (wrong.empty()) wrong = why_no_size_to_match(arm, *other);
    if (!wrong.empty()) found.push_back({{at + ".match." + key, at}, key + " '" + target + "'" + wrong});
  }
}

}  // namespace isobath
