// From scores to accuracies and intervals.

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <numbers>

#include "core/random.h"
#include "trainer/report/statistics.h"
#include "trainer/tasks/paired.h"
#include "trainer/tasks/result.h"

using namespace isobath;
using Catch::Approx;

namespace {

struct Question {
  std::vector<std::string> options;
  std::vector<double> log_probabilities;
  int64_t answer;
};

// Questions whose options stand for answers of their own, or for `answers`.
TaskResult result_of(std::vector<Question> const& questions, std::vector<std::string> const& metrics,
                     std::vector<int64_t> const& answers = {}) {
  TaskFile task;
  task.metrics = metrics;
  TaskItems items;
  TaskScores scores;
  for (Question const& question : questions) {
    TaskItem& item = items.items.emplace_back();
    ItemScore& score = scores.items.emplace_back();
    for (size_t i = 0; i < question.options.size(); ++i) {
      int64_t const answer = answers.empty() ? static_cast<int64_t>(i) : answers[i];
      item.options.push_back({"Q", " " + question.options[i], question.options[i], answer});
      item.answers = std::max(item.answers, answer + 1);
      score.options.push_back({question.log_probabilities[i], false, 1, 0, {}});
    }
    item.answer = question.answer;
  }
  scores.cost = {10, 0, 20, 40, 1};
  return task_result(task, items, scores);
}

}  // namespace

TEST_CASE("task result: accuracies by sum, characters and bytes") {
  // By sum the short one wins; by characters "éé" at -3 each -1.5, "abcdefgh" -0.9; by bytes "éé" has four: -0.75.
  std::vector<Question> const one{{{"éé", "abcdefgh"}, {-3, -7.2}, 1}};
  TaskReading const r = result_of(one, {"acc", "acc_norm", "acc_bytes"}).reading;
  CHECK(r.acc.value == 0);
  CHECK(r.acc_norm.value == 1);
  CHECK(r.acc_bytes.value == 0);
  CHECK(r.bits_per_byte.value == Approx(7.2 / std::numbers::ln2 / 9));
  CHECK(std::isnan(r.f1.value));
  CHECK(r.blocks_per_token == 2);
}

TEST_CASE("task result: a tie is wrong, and the first wins where the harness counts") {
  TaskReading const r = result_of({{{"a", "b"}, {-1, -1}, 0}, {{"a", "b"}, {-1, -1}, 1}, {{"a", "b"}, {-1, -2}, 0}}, {"acc"}).reading;
  CHECK(r.acc.value == Approx(1.0 / 3));
  CHECK(r.acc_first == Approx(2.0 / 3));
  CHECK(r.ties == 2);
  CHECK(r.chance == 0.5);
  CHECK(r.majority == Approx(2.0 / 3));
}

TEST_CASE("task result: the probabilities of an answer's words are added") {
  // Alone, "True" is the likeliest word; "False" and "Neither" together are likelier.
  std::vector<Question> const one{{{"True", "False", "Neither"}, {std::log(0.4), std::log(0.3), std::log(0.3)}, 1}};
  CHECK(result_of(one, {"acc"}, {0, 1, 1}).reading.acc.value == 1);
  CHECK(result_of(one, {"acc"}).reading.acc.value == 0);
}

TEST_CASE("task result: macro F1") {
  // Given 0, 0, 1; right 0, 1, 1: F1 of 0 is 2 / (2 + 1), of 1 the same.
  TaskReading const r = result_of({{{"a", "b"}, {0, -1}, 0}, {{"a", "b"}, {0, -1}, 1}, {{"a", "b"}, {-1, 0}, 1}}, {"acc", "f1"}).reading;
  CHECK(r.f1.value == Approx(2.0 / 3));
  CHECK(r.f1.low <= r.f1.value);
  CHECK(r.f1.high >= r.f1.value);
}

TEST_CASE("task result: answers that are drawn give chance, within the interval") {
  std::vector<Question> questions;
  for (uint64_t i = 0; i < 2000; ++i) {
    Question question{{"a", "b", "c", "d"}, {}, static_cast<int64_t>(random_bits(9, i) % 4)};
    for (uint64_t o = 0; o < 4; ++o) question.log_probabilities.push_back(std::log(random_uniform(11, 4 * i + o)));
    questions.push_back(question);
  }
  TaskReading const r = result_of(questions, {"acc"}).reading;
  CHECK(r.acc.low < r.chance);
  CHECK(r.acc.high > r.chance);
  CHECK(r.acc.high - r.acc.low < 0.04);
}

TEST_CASE("statistics: intervals and McNemar's test at published values") {
  auto const [low, high] = wilson_interval(8, 10);  // Wilson 1927; R's prop.test(8, 10, correct = FALSE)
  CHECK(low == Approx(0.4901625).epsilon(1e-6));
  CHECK(high == Approx(0.9433178).epsilon(1e-6));
  for (int n = 1; n < 60; ++n) CHECK((wilson_interval(0, n).first == 0 && wilson_interval(n, n).second == 1));
  CHECK(wilson_interval(10, 10).second == Approx(1));
  CHECK(mcnemar_exact(1, 9) == Approx(22.0 / 1024));
  CHECK(mcnemar_exact(0, 0) == 1);
  CHECK(mcnemar_exact(5, 5) == 1);
  // The mean of 100 values 0 and 1, half of each: the standard error is 0.05.
  auto const [from, to] = bootstrap_interval(100, 3, [](std::vector<int64_t> const& drawn) {
    double sum = 0;
    for (int64_t const i : drawn) sum += static_cast<double>(i % 2);
    return sum / static_cast<double>(drawn.size());
  });
  CHECK(from == Approx(0.402).margin(0.02));
  CHECK(to == Approx(0.598).margin(0.02));
}

TEST_CASE("paired answers: the difference, over items and seeds") {
  std::vector<bool> model(200, false), baseline(200, false);
  for (size_t i = 0; i < 100; ++i) model[i] = baseline[i] = true;
  for (size_t i = 100; i < 120; ++i) model[i] = true;
  PairedTask const one = compare_answers({model}, {baseline});
  CHECK(one.difference.value == Approx(0.1));
  CHECK(one.difference.low > 0.05);
  CHECK(one.difference.high < 0.16);
  CHECK(one.mcnemar.front() == Approx(std::pow(0.5, 19)));
  CHECK(one.only_model == 20);
  // Seeds that disagree widen the interval: in the second the two have changed places.
  PairedTask const two = compare_answers({model, baseline}, {baseline, model});
  CHECK(two.difference.value == 0);
  CHECK(two.difference.low < -0.05);
  CHECK(two.difference.high > 0.05);
  CHECK(two.mcnemar.size() == 2);
}
