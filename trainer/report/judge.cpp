// Chooses which arms are compared on which seeds, and words the verdicts.
#include "trainer/report/judge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "trainer/report/comparable.h"

namespace isobath {
namespace {

using Arms = std::vector<ArmResult const*>;
using Seeds = std::vector<int64_t>;

// Arms that a headline may choose from, and seeds that every one of them has finished.
struct Field {
  Arms arms;
  Seeds seeds;
  std::string metric = "loss_causal";  // that the best are chosen by
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

std::vector<RunResult const*> runs_of(ArmResult const& arm, Seeds const& seeds) {
  std::vector<RunResult const*> runs;
  for (int64_t const seed : seeds) runs.push_back(arm.run(seed));
  return runs;
}

std::vector<double> values_of(std::vector<RunResult const*> const& runs, std::string const& metric) {
  std::vector<double> values;
  if (metric.empty()) return values;
  for (RunResult const* run : runs) values.push_back(run->metrics[metric]);
  return values;
}

double mean_of(ArmResult const& arm, Seeds const& seeds, std::string const& metric) {
  return spread(values_of(runs_of(arm, seeds), metric)).mean;
}

// The dense (or routed) arm with the lowest mean.
ArmResult const* lowest(Field const& field, bool dense, ArmResult const* except = nullptr) {
  ArmResult const* best = nullptr;
  for (ArmResult const* arm : field.arms)
    if (arm->dense() == dense && arm != except &&
        (!best || mean_of(*arm, field.seeds, field.metric) < mean_of(*best, field.seeds, field.metric)))
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
  return {all, common, whole.metric};
}

// What more seeds could show, if they scatter as these do.
std::string hint(PairedDifference const& difference) {
  if (difference.significant() || difference.n == 0) return "";
  if (!difference.half_width) return "; two seeds or more give a confidence interval (compare.seeds)";
  auto const n = static_cast<double>(difference.n), more = std::max(5.0, 2 * n);
  double const scatter = *difference.half_width * std::sqrt(n) / student_t_quantile(0.975, n - 1);
  return fmt::format("; {:.0f} seeds could detect about {:.2g} %", more, student_t_quantile(0.975, more - 1) * scatter / std::sqrt(more));
}

// Two arms over their common seeds, to be compared at equal FLOPs or time.
struct Match {
  ArmResult const &arm, &baseline;
  std::vector<RunResult const*> runs, baseline_runs, all;
  Comparable by;
};

Match match(ArmResult const& arm, ArmResult const& baseline, Seeds const& seeds) {
  Match found{arm, baseline, runs_of(arm, seeds), runs_of(baseline, seeds), {}, {}};
  found.all = found.baseline_runs;
  found.all.insert(found.all.end(), found.runs.begin(), found.runs.end());
  if (!found.all.empty()) found.by = comparable_by(found.all);
  return found;
}

// Without a reason against it, the pair of these values, seed by seed.
Pair make_pair(Match const& match, char const* basis, std::string const& reason, std::vector<double> const& ours,
               std::vector<double> const& theirs) {
  Pair pair;
  pair.arm = match.arm.name;
  pair.baseline = match.baseline.name;
  pair.basis = basis;
  pair.metric = match.by.metric.empty() ? "loss_causal" : match.by.metric;
  if (!reason.empty()) {
    pair.verdict = "no verdict: " + reason;
    return pair;
  }
  pair.difference = paired_percent(ours, theirs);
  pair.arm_loss = spread(ours).mean;
  pair.baseline_loss = spread(theirs).mean;
  pair.hint = hint(pair.difference);
  pair.verdict = verdict(pair.difference) + pair.hint;
  pair.note = match.by.reason;
  return pair;
}

Pair equal_flops_pair(ArmResult const& arm, ArmResult const& baseline, Seeds const& seeds) {
  Match const two = match(arm, baseline, seeds);
  std::string const reason = two.by.metric.empty() ? two.by.reason : unequal_flops(two.all);
  return make_pair(two, "flops", reason, values_of(two.runs, two.by.metric), values_of(two.baseline_runs, two.by.metric));
}

Pair equal_time_pair(ArmResult const& arm, ArmResult const& baseline, Seeds const& seeds) {
  Match const two = match(arm, baseline, seeds);
  std::string const reason = two.by.metric.empty() ? two.by.reason : unequal_machines(two.all);
  std::vector<double> ours, theirs;
  double arm_time = 0, baseline_time = 0;
  for (size_t i = 0; reason.empty() && i < two.runs.size(); ++i) {
    RunResult const &run = *two.runs[i], &other = *two.baseline_runs[i];
    double const time = std::min(run.time_s, other.time_s);
    auto const loss = metric_at_time(run.curve, two.by.metric, time), other_loss = metric_at_time(other.curve, two.by.metric, time);
    if (!loss || !other_loss) continue;
    ours.push_back(*loss);
    theirs.push_back(*other_loss);
    arm_time += run.time_s;
    baseline_time += other.time_s;
  }
  Pair pair = make_pair(two, "time", reason, ours, theirs);
  if (!reason.empty()) return pair;
  if (pair.difference.n == 0) {
    if (!two.all.empty())
      pair.verdict = "no verdict: the shorter run ends before the other's first validation, so nothing can be interpolated";
    return pair;
  }
  auto const n = static_cast<double>(pair.difference.n);
  arm_time /= n;
  baseline_time /= n;
  std::string const& longer = arm_time > baseline_time ? arm.name : baseline.name;
  std::string const& shorter = arm_time > baseline_time ? baseline.name : arm.name;
  double const less = std::min(arm_time, baseline_time), more = std::max(arm_time, baseline_time);
  pair.note = fmt::format(
      "read off the curves, which are validated on eval.tokens of text: {} took {} of training, {} took {} and is interpolated at {}",
      shorter, format_seconds(less), longer, format_seconds(more), format_seconds(less));
  if (less < 0.98 * more)
    pair.note += fmt::format(", where its learning rate has not decayed yet; a run of {} planned for that time would do better", longer);
  return pair;
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
    if (&arm != challenger && &arm != &best) add(arm, common_seeds(best, seeds_of(arm)));
  for (ArmResult const& arm : report.arms) {
    ArmResult const* const baseline = report.baseline_of(arm);
    if (!baseline || baseline == &best || &arm == baseline || &arm == &best) continue;
    report.pairs.push_back(equal_flops_pair(arm, *baseline, common_seeds(*baseline, seeds_of(arm))));
  }
}

}  // namespace

void judge(Report& report) {
  Field field = choose_field(report);
  std::vector<RunResult const*> runs;
  for (ArmResult const* arm : field.arms)
    for (RunResult const* run : runs_of(*arm, field.seeds)) runs.push_back(run);
  Comparable const by = runs.empty() ? Comparable{"loss_causal", ""} : comparable_by(runs);
  if (!by.metric.empty()) field.metric = by.metric;
  report.ranked_by = by.metric;
  ArmResult const* best = lowest(field, true);
  ArmResult const* challenger = lowest(field, false);
  std::string role = ", the best dense arm";
  if (!best || !challenger || field.seeds.empty() || by.metric.empty()) {
    best = baseline_or_first(report);
    challenger = field.seeds.empty() || by.metric.empty() ? nullptr : lowest(field, best->dense(), best);
    role = ", the baseline";
  }
  report.best_dense = best->name;
  add_pairs(report, *best, challenger, field.seeds);
  if (by.metric.empty()) {
    report.headline = "no verdict: " + by.reason;
    return;
  }
  if (!challenger) {
    report.headline = field.seeds.empty() ? "no seed has finished in every arm: nothing to compare"
                                          : "only " + best->name + " finished: nothing to compare";
    return;
  }
  report.challenger = challenger->name;
  auto const routed =
      std::count_if(field.arms.begin(), field.arms.end(), [&](ArmResult const* arm) { return !arm->dense() && arm != best; });
  if (routed > 1 && !challenger->dense())
    report.warnings.push_back(
        fmt::format("{} is the best of {} routed arms, chosen after the fact: its lead is flattered a little", challenger->name, routed));
  Pair const& pair = report.pairs.front();
  report.headline = fmt::format("{} against {}{}: {}", challenger->name, best->name, role, pair.verdict);
  if (pair.compared())
    report.headline += fmt::format(" ({} {:.4f} against {:.4f}, equal training FLOPs)",
                                   pair.metric == "loss_causal" ? "causal loss" : "bits per byte", pair.arm_loss, pair.baseline_loss);
}

std::optional<double> metric_at_time(std::vector<ValidationPoint> const& curve, std::string const& metric, double time_s) {
  for (size_t i = 0; i < curve.size(); ++i) {
    ValidationPoint const& here = curve[i];
    if (here.time_s < time_s * (1 - 1e-9)) continue;
    if (here.time_s <= time_s * (1 + 1e-9)) return here.metrics[metric];
    if (i == 0 || curve[i - 1].time_s <= 0) return std::nullopt;
    ValidationPoint const& before = curve[i - 1];
    double const share = std::log(time_s / before.time_s) / std::log(here.time_s / before.time_s);
    return before.metrics[metric] + share * (here.metrics[metric] - before.metrics[metric]);
  }
  // A time that is up to 1 % later than the last validation counts as the end of the run, because times are rounded.
  if (!curve.empty() && time_s <= curve.back().time_s * 1.01) return curve.back().metrics[metric];
  return std::nullopt;
}

}  // namespace isobath
