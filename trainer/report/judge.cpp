// Chooses which arms are compared on which seeds, and words the verdicts.
#include "trainer/report/judge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace isobath {
namespace {

using Arms = std::vector<ArmResult const*>;
using Seeds = std::vector<int64_t>;

// Arms that a headline may choose from, and seeds that every one of them has finished.
struct Field {
  Arms arms;
  Seeds seeds;
};

Seeds seeds_of(ArmResult const& arm) {
  Seeds seeds;
  for (RunResult const& run : arm.runs) seeds.push_back(run.config.seed);
  return seeds;
}

Seeds common_seeds(ArmResult const& arm, Seeds const& wanted) {
  Seeds found;
  std::copy_if(wanted.begin(), wanted.end(), std::back_inserter(found), [&](int64_t seed) { return arm.run(seed); });
  return found;
}

std::string seed_list(Seeds const& seeds) { return fmt::format("seed{} {}", seeds.size() == 1 ? "" : "s", fmt::join(seeds, ", ")); }

double mean_loss(ArmResult const& arm, Seeds const& seeds) {
  std::vector<double> losses;
  for (int64_t const seed : seeds) losses.push_back(arm.run(seed)->loss_causal());
  return spread(losses).mean;
}

ArmResult const* lowest(Field const& field, bool dense, ArmResult const* except = nullptr) {
  ArmResult const* best = nullptr;
  for (ArmResult const* arm : field.arms)
    if (arm->dense() == dense && arm != except && (!best || mean_loss(*arm, field.seeds) < mean_loss(*best, field.seeds))) best = arm;
  return best;
}

// The arm that others are compared with when there are not both dense and routed arms.
ArmResult const* baseline_or_first(Report const& report) {
  ArmResult const* baseline = report.arm(report.experiment.compare.baseline);
  return baseline ? baseline : &report.arms.front();
}

bool has_two_kinds(Arms const& arms) {
  return std::any_of(arms.begin(), arms.end(), [&](ArmResult const* arm) { return arm->dense() != arms.front()->dense(); });
}

// Losses differ more between seeds than between arms, so only arms with the same seeds are compared. Returns the arms that have every seed,
// if they suffice for a headline; else all arms, with the seeds that all have (none: no headline). Warnings say which.
Field choose_field(Report& report) {
  Arms all;
  Field whole{{}, report.seeds()};
  Seeds common = whole.seeds;
  for (ArmResult const& arm : report.arms) {
    all.push_back(&arm);
    if (common_seeds(arm, whole.seeds).size() == whole.seeds.size()) whole.arms.push_back(&arm);
    common = common_seeds(arm, common);
  }
  if (whole.arms.size() == all.size()) return whole;
  bool const baseline_is_whole = std::find(whole.arms.begin(), whole.arms.end(), baseline_or_first(report)) != whole.arms.end();
  if (has_two_kinds(all) ? has_two_kinds(whole.arms) : whole.arms.size() > 1 && baseline_is_whole) {
    for (ArmResult const* arm : all) {
      Seeds missing;
      std::copy_if(whole.seeds.begin(), whole.seeds.end(), std::back_inserter(missing), [&](int64_t seed) { return !arm->run(seed); });
      if (!missing.empty())
        report.warnings.push_back(fmt::format("{} lacks {}: it takes no part in the headline", arm->name, seed_list(missing)));
    }
    return whole;
  }
  if (!common.empty())
    report.warnings.push_back(fmt::format("arms have different seeds: the headline stands on {}, which every arm has", seed_list(common)));
  return {all, common};
}

std::string hint(Report const& report, PairedDifference const& difference) {
  if (difference.significant() || difference.n == 0) return "";
  constexpr double hour_budget = 1.2e13;  // training FLOPs of one run of configs/hour.yaml
  bool const small = static_cast<double>(report.arms.front().train_flops) < 0.9 * hour_budget;
  return small ? "; for an answer run configs/hour.yaml" : "; more seeds would narrow it (compare.seeds)";
}

Pair make_pair(Report const& report, ArmResult const& arm, ArmResult const& baseline, char const* basis, std::vector<double> const& ours,
               std::vector<double> const& theirs) {
  Pair pair;
  pair.arm = arm.name;
  pair.baseline = baseline.name;
  pair.basis = basis;
  pair.difference = paired_percent(ours, theirs);
  pair.arm_loss = spread(ours).mean;
  pair.baseline_loss = spread(theirs).mean;
  pair.hint = hint(report, pair.difference);
  pair.verdict = verdict(pair.difference) + pair.hint;
  return pair;
}

Pair equal_flops_pair(Report const& report, ArmResult const& arm, ArmResult const& baseline, Seeds const& seeds) {
  std::vector<double> ours, theirs;
  for (int64_t const seed : seeds) {
    ours.push_back(arm.run(seed)->loss_causal());
    theirs.push_back(baseline.run(seed)->loss_causal());
  }
  return make_pair(report, arm, baseline, "flops", ours, theirs);
}

Pair equal_time_pair(Report const& report, ArmResult const& arm, ArmResult const& baseline, Seeds const& seeds) {
  std::vector<double> ours, theirs;
  double arm_time = 0, baseline_time = 0;
  for (int64_t const seed : seeds) {
    RunResult const &run = *arm.run(seed), &other = *baseline.run(seed);
    double const time = std::min(run.time_s, other.time_s);
    auto const loss = loss_at_time(run.curve, time), other_loss = loss_at_time(other.curve, time);
    if (!loss || !other_loss) continue;
    ours.push_back(*loss);
    theirs.push_back(*other_loss);
    arm_time += run.time_s;
    baseline_time += other.time_s;
  }
  Pair pair = make_pair(report, arm, baseline, "time", ours, theirs);
  if (pair.difference.n == 0) {
    pair.note = "the shorter run ends before the other's first validation: nothing to interpolate";
    return pair;
  }
  auto const n = static_cast<double>(pair.difference.n);
  arm_time /= n;
  baseline_time /= n;
  std::string const& longer = arm_time > baseline_time ? arm.name : baseline.name;
  std::string const& shorter = arm_time > baseline_time ? baseline.name : arm.name;
  double const less = std::min(arm_time, baseline_time), more = std::max(arm_time, baseline_time);
  pair.note = fmt::format("an interpolation: {} took {} of training, {} took {} and is read off its curve at {}", shorter,
                          format_seconds(less), longer, format_seconds(more), format_seconds(less));
  if (less < 0.98 * more)
    pair.note += fmt::format(", where its learning rate has not decayed yet; a run of {} planned for that time would do better", longer);
  return pair;
}

// Adds pairs of every arm with `best`, the challenger first and on the headline's seeds, then pairs of the arms with the baseline. All but
// the challenger's use the seeds that both arms have.
void add_pairs(Report& report, ArmResult const& best, ArmResult const* challenger, Seeds const& headline_seeds) {
  auto const add = [&](ArmResult const& arm, Seeds const& seeds) {
    report.pairs.push_back(equal_flops_pair(report, arm, best, seeds));
    report.pairs.push_back(equal_time_pair(report, arm, best, seeds));
  };
  if (challenger) add(*challenger, headline_seeds);
  for (ArmResult const& arm : report.arms)
    if (&arm != challenger && &arm != &best) add(arm, common_seeds(best, seeds_of(arm)));
  ArmResult const* baseline = report.arm(report.experiment.compare.baseline);
  if (!baseline || baseline == &best) return;
  for (ArmResult const& arm : report.arms)
    if (&arm != baseline && &arm != &best)
      report.pairs.push_back(equal_flops_pair(report, arm, *baseline, common_seeds(*baseline, seeds_of(arm))));
}

}  // namespace

void judge(Report& report) {
  Field const field = choose_field(report);
  ArmResult const* best = lowest(field, true);
  ArmResult const* challenger = lowest(field, false);
  std::string role = ", the best dense arm";
  if (!best || !challenger || field.seeds.empty()) {
    best = baseline_or_first(report);
    challenger = field.seeds.empty() ? nullptr : lowest(field, best->dense(), best);
    role = ", the baseline";
  }
  report.best_dense = best->name;
  add_pairs(report, *best, challenger, field.seeds);
  if (!challenger) {
    report.headline = field.seeds.empty() ? "no seed has finished in every arm: nothing to compare"
                                          : "only " + best->name + " finished: nothing to compare";
    return;
  }
  report.challenger = challenger->name;
  auto const routed = std::count_if(field.arms.begin(), field.arms.end(), [](ArmResult const* arm) { return !arm->dense(); });
  if (routed > 1 && !challenger->dense())
    report.warnings.push_back(
        fmt::format("{} is the best of {} routed arms, chosen after the fact: its lead is flattered a little", challenger->name, routed));
  Pair const& pair = report.pairs.front();
  report.headline = fmt::format("{} against {}{}: {} (causal loss {:.4f} against {:.4f}, equal training FLOPs)", challenger->name,
                                best->name, role, pair.verdict, pair.arm_loss, pair.baseline_loss);
}

std::optional<double> loss_at_time(std::vector<ValidationPoint> const& curve, double time_s) {
  for (size_t i = 0; i < curve.size(); ++i) {
    ValidationPoint const& here = curve[i];
    if (here.time_s < time_s * (1 - 1e-9)) continue;
    if (here.time_s <= time_s * (1 + 1e-9)) return here.loss_causal();
    if (i == 0 || curve[i - 1].time_s <= 0) return std::nullopt;
    ValidationPoint const& before = curve[i - 1];
    double const share = std::log(time_s / before.time_s) / std::log(here.time_s / before.time_s);
    return before.loss_causal() + share * (here.loss_causal() - before.loss_causal());
  }
  // A time that is up to 1 % later than the last validation counts as the end of the run, because times are rounded.
  if (!curve.empty() && time_s <= curve.back().time_s * 1.01) return curve.back().loss_causal();
  return std::nullopt;
}

}  // namespace isobath
