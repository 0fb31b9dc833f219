// What a report says of tasks: means, intervals, pairs, and why some arms are not compared.
#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/fast/report_runs.h"
#include "trainer/report/report.h"
#include "trainer/tasks/answers_file.h"

using namespace isobath;
using Catch::Approx;

namespace {

struct FakeTask {
  std::string right;  // '1' for an item that is answered rightly
  std::string task = "quiz", routing = "causal", metric = "acc", items_key = "abc";
  bool with_answers = true;
  std::vector<std::string> groups = {};  // of each item
  json more = json::object();            // more keys of the record
};

// Adds a final record, as a run leaves it at its last step, and the answers.
void answer(fs::path const& run, FakeTask const& fake) {
  auto const right = static_cast<double>(std::count(fake.right.begin(), fake.right.end(), '1'));
  double const share = right / static_cast<double>(fake.right.size());
  json record = {{"kind", "task"},
                 {"step", 1000},
                 {"final", true},
                 {"task", fake.task},
                 {"routing", fake.routing},
                 {"looks_ahead", fake.routing == "topk"},
                 {"items", fake.right.size()},
                 {"main_metric", fake.metric},
                 {"acc", share},
                 {"bits_per_byte", 1.5},
                 {"chance", 0.25},
                 {"majority", 0.3},
                 {"blocks_per_token", 4.0},
                 {"tokens_per_s", 1000}};
  if (fake.metric == "acc_norm") record["acc_norm"] = share;
  record.update(fake.more);
  std::ofstream(run / "metrics.jsonl", std::ios::app) << record << "\n";
  if (!fake.with_answers) return;
  AnswersByTask answers = read_task_answers(run);
  TaskAnswers& own = answers[{fake.task, fake.routing}];
  own = {fake.items_key, fake.metric, {}, fake.groups};
  for (char const c : fake.right) own.right.push_back(c == '1');
  write_task_answers(run, answers);
}

std::string ones(int64_t right, int64_t items) {
  return std::string(static_cast<size_t>(right), '1') + std::string(static_cast<size_t>(items - right), '0');
}

// dense and mod with two seeds; dense answers 50 of 200 items rightly.
struct Comparison {
  Folder root;
  Comparison() {
    write_experiment(root.path, {"dense", "mod"}, {1, 2}, "dense");
    for (int64_t seed : {1, 2}) {
      write_run(root.path, "dense", seed, {});
      write_run(root.path, "mod", seed, {.loss = 2.9, .routed = true});
    }
  }
  fs::path run(std::string const& arm, int64_t seed) const { return root.path / arm / ("seed-" + std::to_string(seed)); }
  void dense(FakeTask const& fake) const {
    for (int64_t seed : {1, 2}) answer(run("dense", seed), fake);
  }
  void mod(FakeTask const& fake) const {
    for (int64_t seed : {1, 2}) answer(run("mod", seed), fake);
  }
  Report report() const { return read_report({root.path}); }
};

bool notes(Report const& report, std::string const& part) {
  return std::any_of(report.warnings.begin(), report.warnings.end(), [&](std::string const& w) { return contains(w, part); });
}

}  // namespace

TEST_CASE("report of tasks: values are means over seeds, with an interval over items and seeds") {
  Comparison const two;
  answer(two.run("dense", 1), {.right = ones(50, 200), .more = {{"blocks_per_token", 3.0}, {"acc_norm", 0.5}}});
  answer(two.run("dense", 2), {.right = ones(60, 200)});
  two.mod({.right = ones(80, 200), .with_answers = false});
  Report const report = two.report();
  REQUIRE(report.tasks.size() == 1);
  json const task = json::parse(report_json(report).dump())["tasks"][0];
  CHECK(task["task"] == "quiz");
  CHECK(task["main_metric"] == "acc");
  CHECK(task["items"] == 200);
  CHECK(task["chance"] == 0.25);
  CHECK(task["majority"] == 0.3);
  json const& dense = task["arms"][0];
  CHECK(dense["seeds"] == json{1, 2});
  CHECK(dense["value"].get<double>() == Approx(0.275));
  CHECK(dense["blocks_per_token"].get<double>() == Approx(3.5));
  CHECK(dense["acc_norm"].get<double>() == Approx(0.5));  // of the seed that has it
  CHECK_FALSE(dense.contains("f1"));
  // A binomial interval has the half width 1.96 sqrt(0.275 * 0.725 / 200) = 0.06; spread between seeds widens it to less than twice that.
  double const low = dense["ci95"][0], high = dense["ci95"][1];
  CHECK(low < 0.275 - 0.04);
  CHECK(low > 0.275 - 0.12);
  CHECK(high > 0.275 + 0.04);
  CHECK(high < 0.275 + 0.12);
  CHECK(task["arms"][1]["value"].get<double>() == Approx(0.4));
  CHECK(task["arms"][1]["ci95"].is_null());  // no answers
  std::string const table = report_table(report);
  CHECK(contains(table, "quiz, causal: 200 items, chance 25.0 %, majority 30.0 %"));
  CHECK(contains(table, "27.5 ("));
}

TEST_CASE("report of tasks: accuracy by group, numbers in their order, with an interval over items and seeds") {
  Comparison const two;
  std::vector<std::string> groups;  // "10" for the first 100 items, "2" for the others
  for (int i = 0; i < 200; ++i) groups.push_back(i < 100 ? "10" : "2");
  answer(two.run("dense", 1), {.right = ones(50, 200), .groups = groups});
  answer(two.run("dense", 2), {.right = ones(60, 200), .groups = groups});
  two.mod({.right = ones(110, 200)});
  Report const report = two.report();
  json const arms = json::parse(report_json(report).dump())["tasks"][0]["arms"];
  REQUIRE(arms[0]["groups"].size() == 2);
  CHECK_FALSE(arms[1].contains("groups"));
  json const &second = arms[0]["groups"][0], &tenth = arms[0]["groups"][1];
  CHECK(second["group"] == "2");
  CHECK(second["items"] == 100);
  CHECK(second["acc"] == 0);
  CHECK(second["ci95"][0] == 0);
  CHECK(second["ci95"][1].get<double>() == Approx(0.0370).margin(1e-4));  // Wilson's of 0 in 100: a bootstrap would say 0
  CHECK(tenth["group"] == "10");
  CHECK(tenth["acc"].get<double>() == Approx(0.55));
  // The binomial half width is 1.96 sqrt(0.55 * 0.45 / 100) = 0.098; seeds that differ by 0.1 widen it to less than twice that.
  CHECK(tenth["ci95"][0].get<double>() < 0.55 - 0.07);
  CHECK(tenth["ci95"][0].get<double>() > 0.55 - 0.19);
  std::string const table = report_table(report);
  CHECK(table.find("\n  2   ") < table.find("\n  10  "));
  CHECK(contains(table, "55.0 ("));
}

TEST_CASE("report of tasks: results during training become curves, of unfinished runs as well") {
  Comparison const two;
  two.dense({.right = ones(50, 200)});
  auto const validate = [&](fs::path const& run, int64_t flops, double value) {
    json const record = {{"kind", "task"}, {"step", 1},           {"final", false},       {"train_flops_total", flops},
                         {"task", "quiz"}, {"routing", "causal"}, {"looks_ahead", false}, {"main_metric", "acc"},
                         {"items", 20},    {"acc", value}};
    std::ofstream(run / "metrics.jsonl", std::ios::app) << record << "\n";
  };
  validate(two.run("dense", 1), 1000, 0.2);
  validate(two.run("dense", 1), 2000, 0.3);
  validate(two.run("dense", 1), 2000, 0.4);  // measured again by a run that was resumed
  write_experiment(two.root.path, {"dense", "mod", "late"}, {1, 2}, "dense");
  write_run(two.root.path, "late", 1, {.status = ""});
  validate(two.run("late", 1), 1500, 0.25);
  json const report = json::parse(report_json(two.report()).dump());
  json const curves = report["arms"][0]["runs"][0]["task_curves"];
  REQUIRE(curves.size() == 1);
  CHECK(curves[0]["task"] == "quiz");
  CHECK(curves[0]["main_metric"] == "acc");
  CHECK(curves[0]["points"] == json{{1000, 0.2}, {2000, 0.3}});
  CHECK(report["arms"][0]["runs"][1]["task_curves"].empty());
  REQUIRE(report["unfinished"].size() == 1);
  CHECK(report["unfinished"][0]["task_curves"][0]["points"] == json::array({{1500, 0.25}}));
}

TEST_CASE("report of tasks: a pair is compared item by item and seed by seed") {
  Comparison const two;
  two.dense({.right = ones(50, 200)});
  SECTION("better") {
    two.mod({.right = ones(110, 200)});
    Report const report = two.report();
    TaskPair const* const pair = report.tasks.at(0).pair("mod", "dense");
    REQUIRE(pair);
    CHECK(pair->paired.difference.value == Approx(0.3));
    CHECK(pair->paired.only_model == 120);
    CHECK(pair->significant());
    CHECK(pair->verdict.starts_with("better by 30.0 points ("));
    CHECK(pair->verdict.ends_with("), 2 seeds"));
    json const written = json::parse(report_json(report).dump())["tasks"][0]["pairs"];
    REQUIRE(written.size() == 1);  // dense is the baseline and the best dense arm
    CHECK(written[0]["n_seeds"] == 2);
    CHECK(written[0]["mcnemar_p"].size() == 2);
    CHECK(written[0]["mcnemar_p"][0].get<double>() < 1e-10);
    CHECK(written[0]["ci95"][0].get<double>() > 0.2);
    CHECK(contains(report_table(report), "+30.0 (+"));
    CHECK(notes(report, "1 paired comparison on tasks: where nothing differs, about one interval in twenty"));
  }
  SECTION("worse: the interval is turned round, too") {
    two.mod({.right = ones(20, 200)});
    std::string const verdict = two.report().tasks.at(0).pairs.at(0).verdict;
    CHECK(verdict.starts_with("worse by 15.0 points (1"));
    CHECK_FALSE(contains(verdict, "-"));
  }
  SECTION("alike") {
    two.mod({.right = ones(51, 200)});
    TaskPair const pair = two.report().tasks.at(0).pairs.at(0);
    CHECK_FALSE(pair.significant());
    CHECK(pair.verdict.starts_with("no significant difference (+0.5 points, "));
  }
}

TEST_CASE("report of tasks: only seeds that both arms have are paired, each with its own") {
  Folder const root;
  write_experiment(root.path, {"dense", "mod"}, {1, 2, 3}, "dense");
  for (int64_t seed : {1, 2}) {
    write_run(root.path, "dense", seed, {});
    answer(root.path / "dense" / ("seed-" + std::to_string(seed)), {.right = ones(seed == 1 ? 20 : 100, 200)});
  }
  for (int64_t seed : {2, 3}) {
    write_run(root.path, "mod", seed, {.loss = 2.9, .routed = true});
    answer(root.path / "mod" / ("seed-" + std::to_string(seed)), {.right = ones(seed == 2 ? 100 : 180, 200)});
  }
  Report const report = read_report({root.path});
  TaskPair const& pair = report.tasks.at(0).pairs.at(0);
  CHECK(pair.n_seeds == 1);
  CHECK(pair.paired.difference.value == 0);
  CHECK(report.tasks.at(0).arm("mod")->main.value == Approx(0.7));  // of both of its seeds
  CHECK(notes(report, "those of one seed are over items alone"));
}

TEST_CASE("report of tasks: without the same items and metric there is a reason in place of the verdict") {
  Comparison const two;
  two.dense({.right = ones(50, 200)});
  std::string reason;
  SECTION("other items") {
    two.mod({.right = ones(110, 200), .items_key = "other"});
    reason = "dense seed 1 and mod seed 1 answered other items of quiz";
  }
  SECTION("other items in one seed alone") {
    answer(two.run("mod", 1), {.right = ones(110, 200)});
    answer(two.run("mod", 2), {.right = ones(110, 200), .items_key = "other"});
    reason = "dense seed 1 and mod seed 2 answered other items of quiz";
  }
  SECTION("other metric") {
    two.mod({.right = ones(110, 200), .metric = "acc_norm"});
    reason = "answers to quiz count as right by acc in dense seed 1, by acc_norm in mod seed 1";
  }
  SECTION("no answers") {
    two.mod({.right = ones(110, 200), .with_answers = false});
    reason = "mod seed 1 has no answers to quiz (task_answers.json)";
  }
  SECTION("no result") {
    answer(two.run("mod", 1), {.right = ones(110, 200)});
    reason = "mod seed 2 has no result of quiz";
  }
  SECTION("a damaged file") {
    two.mod({.right = ones(110, 200)});
    write_file_atomic(two.run("mod", 2) / "task_answers.json", "[{");
    reason = "task_answers.json is damaged";
  }
  SECTION("answers of another model than the record's") {
    two.mod({.right = ones(110, 200), .more = {{"acc", 0.5}}});
    reason =
        "the answers of mod seed 1 to quiz (task_answers.json) are not those of its record: 55.00 % of 200 items are right, there 50.00 %";
  }
  Report const report = two.report();
  TaskPair const* const pair = report.tasks.at(0).pair("mod", "dense");
  REQUIRE(pair);
  CHECK_FALSE(pair->compared());
  CHECK(pair->verdict.starts_with("no verdict: "));
  CHECK(contains(pair->verdict, reason));
  CHECK(contains(report_table(report), "mod against dense: no verdict: "));
  json const written = json::parse(report_json(report).dump())["tasks"][0]["pairs"][0];
  CHECK(written["difference"].is_null());
  CHECK(written["ci95"].is_null());
  CHECK_FALSE(notes(report, "paired comparison"));
}

TEST_CASE("report of tasks: top-k looks ahead and is compared with the one routing of a dense model") {
  Comparison const two;
  two.dense({.right = ones(50, 200)});
  two.mod({.right = ones(60, 200)});
  two.mod({.right = ones(110, 200), .routing = "topk"});
  Report const report = two.report();
  REQUIRE(report.tasks.size() == 2);
  CHECK_FALSE(report.tasks[0].looks_ahead);
  ReportedTask const& ahead = report.tasks[1];
  CHECK(ahead.looks_ahead);
  CHECK(ahead.arms.size() == 1);
  CHECK(ahead.pair("mod", "dense")->paired.difference.value == Approx(0.3));
  CHECK(report.tasks[0].pair("mod", "dense")->paired.difference.value == Approx(0.05));
  CHECK(contains(report_table(report), "quiz, top-k, looks ahead: 200 items"));
}

TEST_CASE("report of tasks: of a metric other than accuracy there is no interval, and accuracies are compared") {
  Comparison const two;
  two.dense({.right = ones(50, 200), .metric = "bits_per_byte"});
  two.mod({.right = ones(110, 200), .metric = "bits_per_byte"});
  ReportedTask const task = two.report().tasks.at(0);
  CHECK(task.arm("mod")->main.value == Approx(1.5));
  CHECK(std::isnan(task.arm("mod")->main.low));
  CHECK(task.pairs.at(0).metric == "acc");
  CHECK(task.pairs.at(0).paired.difference.value == Approx(0.3));
}

TEST_CASE("report of tasks: only the last results of the final model count") {
  Comparison const two;
  two.dense({.right = ones(90, 200), .more = {{"final", false}}});
  CHECK(two.report().tasks.empty());
  two.dense({.right = ones(80, 200)});
  two.dense({.right = ones(50, 200)});
  CHECK(two.report().tasks.at(0).arms.at(0).main.value == Approx(0.25));
  // A larger budget, after which another task is asked.
  for (int64_t seed : {1, 2})
    std::ofstream(two.run("dense", seed) / "metrics.jsonl", std::ios::app)
        << json{{"kind", "run"}} << "\n"
        << json{{"kind", "end"}, {"status", "finished"}, {"step", 2000}} << "\n";
  two.dense({.right = ones(70, 200), .task = "later"});
  Report const report = two.report();
  REQUIRE(report.tasks.size() == 1);
  CHECK(report.tasks[0].task == "later");
}

TEST_CASE("report of tasks: a note says which tasks are guessed and which pairs trained unequally") {
  Comparison const two;
  write_run(two.root.path, "mod", 2, {.loss = 2.9, .train_flops = 1100000000000, .routed = true});
  two.dense({.right = ones(55, 200)});
  two.mod({.right = ones(62, 200)});
  two.dense({.right = ones(55, 200), .task = "known"});
  two.mod({.right = ones(150, 200), .task = "known"});
  Report const report = two.report();
  CHECK(notes(report, "no arm is surely better than guessing and than the commonest answer on quiz"));
  CHECK_FALSE(notes(report, "on quiz and known"));
  CHECK(notes(report, "on tasks, mod against dense is not at equal training FLOPs: training FLOPs differ by 10.00 %"));
  CHECK(report.tasks.at(0).pairs.at(0).compared());
}

TEST_CASE("report of tasks: runs without tasks have nothing of them") {
  Comparison const two;
  Report const report = two.report();
  CHECK(report.tasks.empty());
  CHECK(report_json(report)["tasks"].empty());
  CHECK_FALSE(contains(report_table(report), "chance"));
  CHECK_FALSE(notes(report, "task"));
}
