// Holds arms against each other.
#include "trainer/report/pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <tuple>

#include "core/units.h"

namespace isobath {

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

Runs runs_of(ArmResult const& arm, Seeds const& seeds) {
  Runs runs;
  for (int64_t const seed : seeds) runs.push_back(arm.run(seed));
  return runs;
}

std::vector<double> values_of(Runs const& runs, std::string const& metric) {
  std::vector<double> values;
  if (metric.empty()) return values;
  for (RunResult const* run : runs) values.push_back(run->metrics[metric]);
  return values;
}

namespace {

// Two arms over their common seeds, to be compared at equal FLOPs or time.
struct Match {
  ArmResult const &arm, &baseline;
  Runs runs, baseline_runs, all;
  Comparable by;
};

Match match(ArmResult const& arm, ArmResult const& baseline, Seeds const& seeds) {
  Match found{arm, baseline, runs_of(arm, seeds), runs_of(baseline, seeds), {}, {}};
  found.all = found.baseline_runs;
  found.all.insert(found.all.end(), found.runs.begin(), found.runs.end());
  if (!found.all.empty()) found.by = comparable_by(found.all);
  return found;
}

PairNames names(Match const& match, char const* basis) { return {match.arm.name, match.baseline.name, basis, match.by}; }

}  // namespace

Pair make_pair(PairNames const& names, std::string const& reason, std::vector<double> const& ours, std::vector<double> const& theirs) {
  Pair pair;
  pair.arm = names.arm;
  pair.baseline = names.baseline;
  pair.basis = names.basis;
  pair.metric = names.by.metric.empty() ? "loss_causal" : names.by.metric;
  if (!reason.empty()) {
    pair.verdict = "no verdict: " + reason;
    return pair;
  }
  pair.difference = paired_percent(ours, theirs);
  pair.arm_loss = spread(ours).mean;
  pair.baseline_loss = spread(theirs).mean;
  pair.verdict = verdict(pair.difference);
  pair.note = names.by.reason;
  return pair;
}

Pair equal_flops_pair(ArmResult const& arm, ArmResult const& baseline, Seeds const& seeds) {
  Match const two = match(arm, baseline, seeds);
  std::string const reason = two.by.metric.empty() ? two.by.reason : unequal_flops(two.all);
  return make_pair(names(two, "flops"), reason, values_of(two.runs, two.by.metric), values_of(two.baseline_runs, two.by.metric));
}

Pair equal_tokens_pair(ArmResult const& reference, ArmResult const& arm, Seeds const& seeds) {
  Match const two = match(reference, arm, seeds);
  double const tokens = reference["tokens"], wanted = arm["tokens"];
  std::string reason = two.by.metric.empty() ? two.by.reason : "";
  if (reason.empty() && std::abs(tokens / wanted - 1) > 0.01)
    reason = fmt::format("{} was trained on {} tokens, {} on {}", reference.name, format_si(tokens), arm.name, format_si(wanted));
  Pair pair = make_pair(names(two, "tokens"), reason, values_of(two.runs, two.by.metric), values_of(two.baseline_runs, two.by.metric));
  if (reason.empty())
    pair.note = fmt::format("a bound, not a rival: the same tokens at {:.2g} times the training FLOPs",
                            static_cast<double>(reference.train_flops) / static_cast<double>(arm.train_flops));
  return pair;
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
  Pair pair = make_pair(names(two, "time"), reason, ours, theirs);
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

namespace {

std::string hint(Pair const& pair) {
  if (pair.difference.n == 0) return "";
  if (!pair.difference.half_width) return "; two seeds or more give a confidence interval (compare.seeds)";
  std::string text;
  if (pair.equivalence && pair.equivalence->decision != Decision::better && pair.equivalence->decision != Decision::worse)
    text = "; " + describe(*pair.equivalence, pair.difference.n);
  if (pair.difference.significant() && pair.tests > 1 && pair.p_holm >= 0.05)
    text += fmt::format("; not after Holm's correction for {} arms (p {:.2f})", pair.tests, pair.p_holm);
  return text;
}

}  // namespace

void decide_pairs(Report& report) {
  double const margin = 100 * report.experiment.compare.margin;
  std::map<std::tuple<std::string, std::string, std::string>, std::vector<Pair*>> families;  // tested together
  for (Pair& pair : report.pairs) {
    pair.p = pair.p_holm = paired_p(pair.difference);
    pair.equivalence = equivalence(pair.difference, margin);
    if (std::isfinite(pair.p)) families[{pair.basis, pair.cost, pair.baseline}].push_back(&pair);
  }
  for (auto const& [of, pairs] : families) {
    std::vector<double> p;
    for (Pair const* pair : pairs) p.push_back(pair->p);
    std::vector<double> const adjusted = holm(p);
    for (size_t i = 0; i < pairs.size(); ++i) {
      pairs[i]->p_holm = adjusted[i];
      pairs[i]->tests = std::ssize(pairs);
    }
  }
  for (Pair& pair : report.pairs) {
    pair.hint = hint(pair);
    pair.verdict += pair.hint;
  }
}

}  // namespace isobath
