// Chooses which arms are compared on which seeds, and words the verdicts.
#include "trainer/report/judge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "trainer/report/comparable.h"
#include "trainer/report/frontier.h"
#include "trainer/report/pairs.h"

namespace isobath {
namespace {

using Arms = std::vector<ArmResult const*>;

// Arms that a headline may choose from, and seeds that every one of them has finished.
struct Contest {
  Arms arms;
  Seeds seeds;
  std::string metric = "loss_causal";  // that the best are chosen by
};

std::string seed_list(Seeds const& seeds) { return fmt::format("seed{} {}", seeds.size() == 1 ? "" : "s", fmt::join(seeds, ", ")); }

double mean_of(ArmResult const& arm, Seeds const& seeds, std::string const& metric) {
  return spread(values_of(runs_of(arm, seeds), metric)).mean;
}

// The dense (or routed) arm with the lowest mean.
ArmResult const* lowest(Contest const& contest, bool dense, ArmResult const* except = nullptr) {
  ArmResult const* best = nullptr;
  for (ArmResult const* arm : contest.arms)
    if (arm->dense() == dense && arm != except &&
        (!best || mean_of(*arm, contest.seeds, contest.metric) < mean_of(*best, contest.seeds, contest.metric)))
      best = arm;
  return best;
}

// The arm that others are compared with when there are not both dense and routed arms.
ArmResult const* baseline_or_first(Report const& report) {
  ArmResult const* baseline = report.baseline_of(report.arms.front());
  return baseline ? baseline : &report.arms.front();
}

bool has_two_kinds(Arms const& arms) {
  return std::any_of(arms.begin(), arms.end(), [&](ArmResult const* arm) { return arm->dense() != arms.front()->dense(); });
}

// Losses differ more between seeds than between arms, so only arms with the same seeds are compared. Returns the arms that have every seed,
// if they suffice for a headline; else all arms, with the seeds that all have (none: no headline). Warnings say which.
Contest choose_contest(Report& report) {
  Arms all;
  Contest whole{{}, report.seeds()};
  Seeds common = whole.seeds;
  for (ArmResult const& arm : report.arms) {
    if (report.is_reference(arm.name)) continue;
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
  return {all, common, whole.metric};
}

// Adds pairs of every arm with `best`, the challenger first and on the headline's seeds, then pairs of the arms with the baseline. All but
// the challenger's use the seeds that both arms have.
void add_pairs(Report& report, ArmResult const& best, ArmResult const* challenger, Seeds const& headline_seeds) {
  auto const add = [&](ArmResult const& arm, Seeds const& seeds) {
    report.pairs.push_back(equal_flops_pair(arm, best, seeds));
    report.pairs.push_back(equal_time_pair(arm, best, seeds));
  };
  if (challenger) add(*challenger, headline_seeds);
  for (ArmResult const& arm : report.arms)
    if (&arm != challenger && &arm != &best && !report.is_reference(arm.name)) add(arm, common_seeds(best, seeds_of(arm)));
  for (ArmResult const& arm : report.arms) {
    ArmResult const* const baseline = report.baseline_of(arm);
    if (!baseline || baseline == &best || &arm == baseline || &arm == &best || report.is_reference(arm.name)) continue;
    report.pairs.push_back(equal_flops_pair(arm, *baseline, common_seeds(*baseline, seeds_of(arm))));
  }
}

// Reference arms against those on whose tokens they were trained.
void add_bounds(Report& report) {
  for (ArmResult const& arm : report.arms)
    for (ArmConfig const& asked : report.experiment.compare.arms) {
      std::string const &size = arm.runs.front().size, of_size = size.empty() ? "" : "/" + size;
      if (asked.match.tokens_of.empty() || arm.name != asked.name + of_size) continue;
      ArmResult const* const other = report.arm_in_size(asked.match.tokens_of, size);
      if (other) report.pairs.push_back(equal_tokens_pair(arm, *other, common_seeds(*other, seeds_of(arm))));
    }
}

}  // namespace

void judge(Report& report) {
  Contest contest = choose_contest(report);
  std::vector<RunResult const*> runs;
  for (ArmResult const* arm : contest.arms)
    for (RunResult const* run : runs_of(*arm, contest.seeds)) runs.push_back(run);
  Comparable const by = runs.empty() ? Comparable{"loss_causal", ""} : comparable_by(runs);
  if (!by.metric.empty()) contest.metric = by.metric;
  report.ranked_by = by.metric;
  ArmResult const* best = lowest(contest, true);
  ArmResult const* challenger = lowest(contest, false);
  std::string role = ", the best dense arm";
  if (!best || !challenger || contest.seeds.empty() || by.metric.empty()) {
    best = baseline_or_first(report);
    challenger = contest.seeds.empty() || by.metric.empty() ? nullptr : lowest(contest, best->dense(), best);
    role = ", the baseline";
  }
  report.best_dense = best->name;
  add_pairs(report, *best, challenger, contest.seeds);
  add_bounds(report);
  judge_frontiers(report);
  decide_pairs(report);
  if (by.metric.empty()) {
    report.headline = "no verdict: " + by.reason;
    return;
  }
  if (!challenger) {
    report.headline = contest.seeds.empty() ? "no seed has finished in every arm: nothing to compare"
                                            : "only " + best->name + " finished: nothing to compare";
    return;
  }
  report.challenger = challenger->name;
  auto const routed =
      std::count_if(contest.arms.begin(), contest.arms.end(), [&](ArmResult const* arm) { return !arm->dense() && arm != best; });
  if (routed > 1 && !challenger->dense())
    report.warnings.push_back(
        fmt::format("{} is the best of {} routed arms, chosen after the fact: its lead is flattered a little", challenger->name, routed));
  Pair const& pair = report.pairs.front();
  report.headline = fmt::format("{} against {}{}: {}", challenger->name, best->name, role, pair.verdict);
  if (pair.compared())
    report.headline += fmt::format(" ({} {:.4f} against {:.4f}, equal training FLOPs)",
                                   pair.metric == "loss_causal" ? "causal loss" : "bits per byte", pair.arm_loss, pair.baseline_loss);
}

}  // namespace isobath
