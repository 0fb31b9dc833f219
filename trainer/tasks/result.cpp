#include "trainer/tasks/result.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <set>

#include "trainer/report/statistics.h"

namespace isobath {
namespace {

constexpr double lowest = -std::numeric_limits<double>::infinity();
constexpr uint64_t bootstrap_seed = 1;

double log_add(double a, double b) {
  if (a == lowest || b == lowest) return std::max(a, b);
  return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
}

int64_t characters(std::string const& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

Estimate share(std::vector<Answer> const& answers) {
  auto const right = static_cast<double>(std::count_if(answers.begin(), answers.end(), [](Answer const& a) { return a.right; }));
  auto const n = static_cast<double>(answers.size());
  auto const [low, high] = wilson_interval(right, n);
  return {right / n, low, high};
}

Estimate bootstrapped(int64_t n, std::function<double(std::vector<int64_t> const&)> const& statistic) {
  std::vector<int64_t> all;
  for (int64_t i = 0; i < n; ++i) all.push_back(i);
  auto const [low, high] = bootstrap_interval(n, bootstrap_seed, statistic);
  return {statistic(all), low, high};
}

// Mean over the answers of 2 TP / (2 TP + FP + FN); an answer that neither is right nor is given anywhere does not count.
double macro_f1(std::vector<TaskItem> const& items, std::vector<Answer> const& answers, std::vector<int64_t> const& drawn) {
  struct Counts {
    double hits = 0, given = 0, right = 0;
  };
  std::map<int64_t, Counts> classes;
  for (int64_t const i : drawn) {
    auto const at = static_cast<size_t>(i);
    classes[answers[at].given].given += 1;
    classes[items[at].answer].right += 1;
    if (answers[at].given == items[at].answer) classes[answers[at].given].hits += 1;
  }
  double sum = 0;
  for (auto const& [answer, counts] : classes) sum += 2 * counts.hits / (counts.given + counts.right);
  return sum / static_cast<double>(classes.size());
}

std::vector<Answer> answers_of(TaskItems const& items, TaskScores const& scores, Normalisation normalisation) {
  std::vector<Answer> answers;
  for (size_t i = 0; i < items.items.size(); ++i) answers.push_back(answer_of(items.items[i], scores.items[i], normalisation));
  return answers;
}

void add_baselines(TaskFile const& task, std::vector<TaskItem> const& items, TaskReading& reading) {
  std::map<int64_t, int64_t> right;
  for (TaskItem const& item : items) {
    reading.chance += item.answers > 1 ? 1 / static_cast<double>(item.answers) / static_cast<double>(items.size()) : 0;
    ++right[item.answer];
  }
  if (task.kind == TaskKind::cloze) reading.chance = std::nan("");
  for (auto const& [answer, count] : right)
    reading.majority = std::max(reading.majority, static_cast<double>(count) / static_cast<double>(items.size()));
  // Of a pair the first is always right, and of a cloze there is one answer.
  if (task.kind == TaskKind::cloze || task.kind == TaskKind::pair) reading.majority = std::nan("");
}

void add_cost(TaskScores const& scores, TaskReading& reading) {
  for (ItemScore const& item : scores.items) {
    int64_t most = 0;
    for (OptionScore const& option : item.options) most = std::max(most, option.cut);
    reading.cut_items += most > 0;
    reading.cut_tokens += most;
  }
  ScoringCost const& cost = scores.cost;
  auto const tokens = static_cast<double>(cost.tokens);
  reading.tokens = cost.tokens;
  reading.tokens_not_read = cost.tokens_not_read;
  reading.seconds = cost.seconds;
  reading.blocks_per_token = static_cast<double>(cost.blocks) / tokens;
  reading.kv_bytes_per_token = cost.kv_bytes > 0 ? static_cast<double>(cost.kv_bytes) / tokens : std::nan("");
  reading.tokens_per_s = tokens / std::max(cost.seconds, 1e-9);
}

}  // namespace

std::vector<double> answer_scores(TaskItem const& item, ItemScore const& score, Normalisation normalisation) {
  std::vector<double> scores(static_cast<size_t>(item.answers), lowest);
  for (size_t i = 0; i < item.options.size(); ++i) {
    TaskOption const& option = item.options[i];
    double value = score.options[i].log_probability;
    if (normalisation != Normalisation::sum) {
      int64_t const length = normalisation == Normalisation::bytes ? std::ssize(option.choice) : characters(option.choice);
      value /= static_cast<double>(std::max<int64_t>(length, 1));
    }
    double& of_answer = scores[static_cast<size_t>(option.answer)];
    of_answer = log_add(of_answer, value);
  }
  return scores;
}

Answer answer_of(TaskItem const& item, ItemScore const& score, Normalisation normalisation) {
  if (item.answers == 1) return {score.options.front().greedy ? 0 : 1, score.options.front().greedy, false};
  std::vector<double> const scores = answer_scores(item, score, normalisation);
  auto const best = std::max_element(scores.begin(), scores.end());
  double const right = scores[static_cast<size_t>(item.answer)];
  bool const highest = right == *best, alone = std::count(scores.begin(), scores.end(), *best) == 1;
  return {best - scores.begin(), highest && alone, highest && !alone};
}

double bits_per_byte_of_right(TaskItem const& item, ItemScore const& score) {
  double log_probability = lowest;
  int64_t bytes = 0;
  for (size_t i = 0; i < item.options.size(); ++i) {
    if (item.options[i].answer != item.answer) continue;
    log_probability = log_add(log_probability, score.options[i].log_probability);
    bytes = bytes > 0 ? bytes : std::ssize(item.options[i].continuation);
  }
  return -log_probability / std::numbers::ln2 / static_cast<double>(std::max<int64_t>(bytes, 1));
}

Estimate const& TaskResult::main() const {
  static std::map<std::string, Estimate TaskReading::*> const metrics{{"acc", &TaskReading::acc},
                                                                      {"acc_norm", &TaskReading::acc_norm},
                                                                      {"acc_bytes", &TaskReading::acc_bytes},
                                                                      {"bits_per_byte", &TaskReading::bits_per_byte},
                                                                      {"f1", &TaskReading::f1}};
  return reading.*metrics.at(main_metric);
}

TaskResult task_result(TaskFile const& task, TaskItems const& items, TaskScores const& scores) {
  TaskResult result;
  TaskReading& reading = result.reading;
  result.main_metric = task.metrics.front();
  reading.items = std::ssize(items.items);
  auto const wants = [&](char const* metric) { return std::count(task.metrics.begin(), task.metrics.end(), metric) > 0; };
  std::vector<Answer> const sum = answers_of(items, scores, Normalisation::sum);
  reading.acc = share(sum);
  result.answers = sum;
  for (auto const& [name, normalisation, estimate] : {std::tuple("acc_norm", Normalisation::characters, &TaskReading::acc_norm),
                                                      std::tuple("acc_bytes", Normalisation::bytes, &TaskReading::acc_bytes)}) {
    if (!wants(name)) continue;
    std::vector<Answer> const answers = answers_of(items, scores, normalisation);
    reading.*estimate = share(answers);
    if (result.main_metric == name) result.answers = answers;
  }
  std::vector<double> bits;
  for (size_t i = 0; i < items.items.size(); ++i) bits.push_back(bits_per_byte_of_right(items.items[i], scores.items[i]));
  reading.bits_per_byte = bootstrapped(reading.items, [&](std::vector<int64_t> const& drawn) {
    double total = 0;
    for (int64_t const i : drawn) total += bits[static_cast<size_t>(i)];
    return total / static_cast<double>(drawn.size());
  });
  if (wants("f1"))
    reading.f1 = bootstrapped(reading.items, [&](std::vector<int64_t> const& drawn) { return macro_f1(items.items, sum, drawn); });
  int64_t first = 0;
  for (size_t i = 0; i < sum.size(); ++i) {
    reading.ties += sum[i].tied;
    first += items.items[i].answers == 1 ? sum[i].right : sum[i].given == items.items[i].answer;
  }
  reading.acc_first = static_cast<double>(first) / static_cast<double>(sum.size());
  add_baselines(task, items.items, reading);
  add_cost(scores, reading);

  std::map<std::string, std::vector<Answer>> groups;
  if (!task.group.empty())
    for (size_t i = 0; i < result.answers.size(); ++i) groups[items.items[i].group].push_back(result.answers[i]);
  for (auto const& [name, answers] : groups) result.groups[name] = {std::ssize(answers), share(answers)};
  return result;
}

}  // namespace isobath
