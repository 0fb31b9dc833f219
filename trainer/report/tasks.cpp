// Compares arms on tasks.
#include "trainer/report/tasks.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "core/random.h"
#include "trainer/report/comparable.h"
#include "trainer/report/report.h"

namespace isobath {
namespace {

using Runs = std::vector<RunResult const*>;

// Answers of several runs to the same items; without them, the reason.
struct Answers {
  std::vector<std::vector<bool>> right;  // by run and item
  std::vector<std::string> groups;       // by item; empty: the task has none
  std::string metric, reason;
};

// By which answers to a task count as right.
std::string accuracy_of(std::string const& main_metric) { return is_accuracy(main_metric) ? main_metric : "acc"; }

// Why the answers that a run stored for a task cannot be compared; empty where they can.
std::string unusable(RunResult const& run, TaskRecord const* record, ReportedTask const& task) {
  if (!record) return run.label() + " has no result of " + task.task;
  auto const found = run.answers.find({record->task, record->routing});
  if (found == run.answers.end())
    return run.answers_error.empty() ? run.label() + " has no answers to " + task.task + " (task_answers.json)" : run.answers_error;
  std::vector<bool> const& right = found->second.right;
  double const share = static_cast<double>(std::count(right.begin(), right.end(), true)) / static_cast<double>(right.size());
  double const recorded = (*record)[accuracy_of(record->main_metric)];
  if (static_cast<double>(right.size()) == (*record)["items"] && std::abs(share - recorded) < 1e-6) return "";
  return fmt::format(
      "the answers of {} to {} (task_answers.json) are not those of its record: {:.2f} % of {} items are right, there {:.2f} %",
      run.label(), task.task, 100 * share, right.size(), 100 * recorded);
}

Answers answers_of(Runs const& runs, ReportedTask const& task) {
  Answers all;
  TaskAnswers const* first = nullptr;
  for (RunResult const* run : runs) {
    TaskRecord const* const record = run->task(task.task, task.routing);
    if (all.reason = unusable(*run, record, task); !all.reason.empty()) return all;
    TaskAnswers const& own = run->answers.at({record->task, record->routing});
    first = first ? first : &own;
    if (own.items_key != first->items_key)
      all.reason = fmt::format("{} and {} answered other items of {}", runs.front()->label(), run->label(), task.task);
    else if (own.metric != first->metric)
      all.reason = fmt::format("answers to {} count as right by {} in {}, by {} in {}", task.task, first->metric, runs.front()->label(),
                               own.metric, run->label());
    if (!all.reason.empty()) return all;
    all.right.push_back(own.right);
  }
  if (first) all.metric = accuracy_of(first->metric), all.groups = first->groups;
  return all;
}

// "better by 1.2 points (0.4 to 2.0), 3 seeds" | "no significant difference (+0.3 points, -0.9 to +1.5, 3 seeds)"
std::string task_verdict(TaskPair const& pair) {
  double const points = 100 * pair.paired.difference.value;
  double low = 100 * pair.paired.difference.low, high = 100 * pair.paired.difference.high;
  auto const vanishes = [](double value) { return value != 0 && std::abs(value) < 0.05; };
  int const digits = vanishes(points) || vanishes(low) || vanishes(high) ? 2 : 1;  // where one digit would round a small value to 0
  std::string const seeds = fmt::format("{} seed{}", pair.n_seeds, pair.n_seeds == 1 ? "" : "s");
  if (!pair.significant())
    return fmt::format("no significant difference ({:+.{}f} points, {:+.{}f} to {:+.{}f}, {})", points, digits, low, digits, high, digits,
                       seeds);
  if (points < 0) std::tie(low, high) = std::pair(-high, -low);
  return fmt::format("{} by {:.{}f} points ({:.{}f} to {:.{}f}), {}", points > 0 ? "better" : "worse", std::abs(points), digits, low,
                     digits, high, digits, seeds);
}

// compare_answers, which takes up to a second: the page of a running comparison is written again and again from the same answers.
PairedTask const& compared(std::vector<std::vector<bool>> const& model, std::vector<std::vector<bool>> const& baseline) {
  static std::map<std::string, PairedTask> known;
  std::string key;
  for (auto const* runs : {&model, &baseline})
    for (std::vector<bool> const& right : *runs) {
      std::string bits;
      for (bool const one : right) bits += one ? '1' : '0';
      key += fmt::format("{} {:x} ", right.size(), hash_text(bits));
    }
  auto const [found, is_new] = known.try_emplace(key);
  if (is_new) found->second = compare_answers(model, baseline);
  return found->second;
}

// Over the seeds that both have.
TaskPair task_pair(ArmResult const& arm, ArmResult const& baseline, ReportedTask const& task) {
  TaskPair pair;
  pair.arm = arm.name;
  pair.baseline = baseline.name;
  pair.metric = accuracy_of(task.main_metric);
  Runs both;  // the baseline's, then the arm's
  for (RunResult const& run : arm.runs)
    if (RunResult const* const other = baseline.run(run.config.seed)) both.push_back(other);
  auto const seeds = std::ssize(both);
  for (RunResult const& run : arm.runs)
    if (baseline.run(run.config.seed)) both.push_back(&run);
  Answers const answers = answers_of(both, task);
  if (seeds == 0 || !answers.reason.empty()) {
    pair.verdict = seeds == 0 ? "not measured: no seed finished in both arms" : "no verdict: " + answers.reason;
    return pair;
  }
  auto const middle = answers.right.begin() + seeds;
  pair.paired = compared({middle, answers.right.end()}, {answers.right.begin(), middle});
  pair.n_seeds = seeds;
  pair.metric = answers.metric;
  pair.verdict = task_verdict(pair);
  pair.note = unequal_flops(both);
  return pair;
}

// Of several runs: bootstrap over items and seeds, but no narrower than Wilson's interval over the items, for where all or none are right a
// bootstrap draws nothing else.
Estimate share_of_right(std::vector<std::vector<bool>> const& right) {
  std::vector<std::vector<bool>> const none(right.size(), std::vector<bool>(right.front().size()));
  Estimate share = compared(right, none).difference;
  auto const items = static_cast<double>(right.front().size());
  auto const [low, high] = wilson_interval(share.value * items, items);
  share.low = std::min(share.low, low);
  share.high = std::max(share.high, high);
  return share;
}

std::optional<double> as_number(std::string const& text) {
  double value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool const whole = error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
  return whole ? std::optional(value) : std::nullopt;
}

// Numbers by their size and before words.
bool group_before(std::string const& a, std::string const& b) {
  std::optional<double> const x = as_number(a), y = as_number(b);
  if (x && y && *x != *y) return *x < *y;
  if (x.has_value() != y.has_value()) return x.has_value();
  return a < b;
}

std::vector<ArmOnGroup> arm_on_groups(Answers const& answers) {
  std::map<std::string, std::vector<size_t>, decltype(&group_before)> items(&group_before);
  for (size_t i = 0; i < answers.groups.size(); ++i) items[answers.groups[i]].push_back(i);
  std::vector<ArmOnGroup> groups;
  for (auto const& [name, of_group] : items) {
    std::vector<std::vector<bool>> right;
    for (std::vector<bool> const& run : answers.right) {
      right.emplace_back();
      for (size_t const i : of_group) right.back().push_back(run[i]);
    }
    groups.push_back({name, std::ssize(of_group), share_of_right(right)});
  }
  return groups;
}

ArmOnTask arm_on_task(ArmResult const& arm, ReportedTask const& task) {
  ArmOnTask result;
  result.arm = arm.name;
  std::map<std::string, std::vector<double>, std::less<>> values;
  Runs runs;
  for (RunResult const& run : arm.runs) {
    TaskRecord const* const record = run.task(task.task, task.routing);
    if (!record || record->routing != task.routing || std::isnan((*record)[task.main_metric])) continue;
    runs.push_back(&run);
    result.seeds.push_back(run.config.seed);
    for (auto const& [metric, value] : record->values) values[metric].push_back(value);
  }
  for (auto const& [metric, of_seeds] : values) result.means[metric] = spread(of_seeds).mean;
  if (runs.empty()) return result;
  result.main.value = result.means.at(task.main_metric);
  Answers const answers = answers_of(runs, task);
  if (!answers.reason.empty()) return result;
  result.groups = arm_on_groups(answers);
  if (answers.metric == task.main_metric) {
    Estimate const share = share_of_right(answers.right);
    result.main.low = share.low;
    result.main.high = share.high;
  }
  return result;
}

// With the best dense arm, then with the baseline, as the pairs of losses.
void add_task_pairs(Report const& report, ReportedTask& task) {
  std::set<std::string> against;
  for (std::string const& name : {report.best_dense, report.experiment.compare.baseline_arm()}) {
    ArmResult const* const baseline = report.arm(name);
    if (!baseline || !against.insert(name).second) continue;
    for (ArmOnTask const& one : task.arms)
      if (!against.contains(one.arm)) task.pairs.push_back(task_pair(*report.arm(one.arm), *baseline, task));
  }
}

}  // namespace

bool is_accuracy(std::string_view metric) { return metric.starts_with("acc"); }

ArmOnTask const* ReportedTask::arm(std::string_view name) const {
  auto const found = std::find_if(arms.begin(), arms.end(), [&](ArmOnTask const& one) { return one.arm == name; });
  return found == arms.end() ? nullptr : &*found;
}

TaskPair const* ReportedTask::pair(std::string_view of, std::string_view baseline) const {
  auto const found = std::find_if(pairs.begin(), pairs.end(), [&](TaskPair const& p) { return p.arm == of && p.baseline == baseline; });
  return found == pairs.end() ? nullptr : &*found;
}

void judge_tasks(Report& report) {
  std::map<std::pair<std::string, std::string>, TaskRecord const*> first;  // by task and routing; "causal" comes before "topk"
  for (ArmResult const& arm : report.arms)
    for (RunResult const& run : arm.runs)
      for (TaskRecord const& record : run.tasks) first.try_emplace({record.task, record.routing}, &record);
  for (auto const& [of, record] : first) {
    ReportedTask task{of.first, of.second, record->main_metric, record->looks_ahead, 0, (*record)["chance"], (*record)["majority"], {}, {}};
    if (double const items = (*record)["items"]; std::isfinite(items)) task.items = static_cast<int64_t>(items);
    for (ArmResult const& arm : report.arms)
      if (ArmOnTask on_task = arm_on_task(arm, task); !on_task.seeds.empty()) task.arms.push_back(std::move(on_task));
    add_task_pairs(report, task);
    report.tasks.push_back(std::move(task));
  }
}

}  // namespace isobath
