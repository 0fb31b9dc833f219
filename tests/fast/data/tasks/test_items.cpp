// Rows of a task as questions: contexts, continuations and answers, and rows that are none.

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <set>

#include "core/error.h"
#include "data/tasks/items.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

TaskFile small_task(TaskKind kind) {
  TaskFile task;
  task.name = "small";
  task.kind = kind;
  task.source = "rows.jsonl";
  task.prompt = "Q: {q}\nA:";
  task.answer = "label";
  if (kind == TaskKind::choice) task.choices = {"options"};
  if (kind == TaskKind::label) {
    task.labels = {"yes", "no", "no"};
    task.words = {"True", "False", "Neither"};
  }
  if (kind == TaskKind::pair) {
    task.prompt.clear();
    task.choices = {"good", "bad"};
  }
  if (kind == TaskKind::cloze) task.continuation = " {word}";
  return task;
}

TaskItems items_of(TaskFile const& task, std::string const& rows) {
  Scratch const folder;
  folder.write("rows.jsonl", rows);
  return read_task_items(task, folder.path());
}

std::string row_error(TaskFile const& task, std::string const& rows) {
  try {
    items_of(task, rows);
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::data);
    return error.what();
  }
  return "no error";
}

std::string const two_rows = R"({"q": "one", "options": ["a", "b", "c"], "label": 2}
{"q": "two", "options": ["d", "e"], "label": 0}
)";

}  // namespace

TEST_CASE("task items: each kind") {
  TaskItems const choice = items_of(small_task(TaskKind::choice), two_rows);
  REQUIRE(choice.items.size() == 2);
  CHECK(choice.items[0].options[1].context == "Q: one\nA:");
  CHECK(choice.items[0].options[1].continuation == " b");
  CHECK(choice.items[0].answer == 2);
  CHECK(choice.items[0].answers == 3);
  CHECK(choice.items[1].line == 2);

  TaskItems const label = items_of(small_task(TaskKind::label), R"({"q": "x", "label": "no"})");
  CHECK(label.labels == std::vector<std::string>{"yes", "no"});
  CHECK(label.items[0].answers == 2);
  CHECK(label.items[0].answer == 1);
  CHECK(label.items[0].options[2].answer == 1);  // "Neither" stands for "no", too
  CHECK(label.items[0].options[2].continuation == " Neither");

  TaskItems const pair = items_of(small_task(TaskKind::pair), R"({"good": "He is.", "bad": "He are."})");
  CHECK(pair.items[0].options[0].context.empty());
  CHECK(pair.items[0].options[0].continuation == " He is.");
  CHECK(pair.items[0].answer == 0);

  TaskItems const cloze = items_of(small_task(TaskKind::cloze), R"({"q": "x", "word": "end"})");
  CHECK(cloze.items[0].options.size() == 1);
  CHECK(cloze.items[0].options[0].continuation == " end");
}

TEST_CASE("task items: the option in the context, and options in fields of their own") {
  TaskFile task = small_task(TaskKind::choice);
  task.prompt = "{s|before _}{choice}";
  task.continuation = " {s|after _|trim}";
  task.choices = {"first", "second"};
  TaskItems const items = items_of(task, R"({"s": "I saw _ run.", "first": "Ann", "second": "Bob", "label": 1})");
  CHECK(items.items[0].options[1].context == "I saw Bob");
  CHECK(items.items[0].options[1].continuation == " run.");
}

TEST_CASE("task items: a row that is no question is named with its line, the field and what is allowed") {
  TaskFile const task = small_task(TaskKind::choice);
  CHECK_THAT(row_error(task, two_rows + R"({"q": "x", "options": ["a", "b"], "label": 2})"),
             ContainsSubstring("rows.jsonl:3: field 'label' is 2, out of range (a whole number from 0 to 1"));
  CHECK_THAT(row_error(task, R"({"q": "x", "options": ["a", "b"], "label": "b"})"), ContainsSubstring("field 'label' is a text"));
  CHECK_THAT(row_error(task, R"({"q": "x", "options": ["a"], "label": 0})"), ContainsSubstring("has 1 options, where two or more"));
  CHECK_THAT(row_error(task, R"({"q": "x", "label": 0})"), ContainsSubstring("no field 'options' in this row, which has: label, q"));
  CHECK_THAT(row_error(task, R"({"q": "x", "options": ["a", ""], "label": 0})"), ContainsSubstring("option 1 is empty"));
  CHECK_THAT(row_error(task, R"({"q": "x", "options": ["a", 3], "label": 0})"), ContainsSubstring("item 1 is a number, not a text"));
  CHECK_THAT(row_error(task, R"({"options": ["a", "b"], "label": 0})"), ContainsSubstring("no field 'q'"));
  CHECK_THAT(row_error(task, "{\"q\": 1\n"), ContainsSubstring("rows.jsonl:1:8: not JSON"));
  TaskFile empty = task;
  empty.prompt = "{q}";
  CHECK_THAT(row_error(empty, R"({"q": " ", "options": ["a", "b"], "label": 0})"), ContainsSubstring("the prompt is empty"));
  CHECK_THAT(row_error(small_task(TaskKind::label), R"({"q": "x", "label": "maybe"})"),
             ContainsSubstring("'maybe', none of the labels of small (yes, no)"));
  CHECK_THAT(row_error(task, ""), ContainsSubstring("has no rows"));
  TaskFile missing = task;
  missing.source = "other.jsonl";
  CHECK_THAT(row_error(missing, two_rows), ContainsSubstring("scripts/get_tasks.sh"));
}

TEST_CASE("task items: equal options are known") {
  TaskItems const items = items_of(small_task(TaskKind::choice), R"({"q": "x", "options": ["a", "b", "a"], "label": 1})");
  CHECK(items.items[0].equal_options);
  CHECK_FALSE(items_of(small_task(TaskKind::choice), two_rows).items[0].equal_options);
}

TEST_CASE("task items: fewer of them are the same ones, whatever the order of rows") {
  Scratch const folder;
  std::string rows, reversed;
  for (int i = 0; i < 50; ++i) {
    std::string const row = R"({"q": "row )" + std::to_string(i) + R"(", "options": ["a", "b"], "label": 0})" + "\n";
    rows += row;
    reversed = row + reversed;
  }
  auto const questions = [&](std::string const& text, int64_t most) {
    folder.write("rows.jsonl", text);
    std::set<std::string> found;
    for (TaskItem const& item : read_task_items(small_task(TaskKind::choice), folder.path(), most).items)
      found.insert(item.options[0].context);
    return found;
  };
  std::set<std::string> const ten = questions(rows, 10), twenty = questions(rows, 20);
  CHECK(ten.size() == 10);
  CHECK(questions(reversed, 10) == ten);
  CHECK(std::includes(twenty.begin(), twenty.end(), ten.begin(), ten.end()));
  CHECK(questions(rows, 50).size() == 50);
  folder.write("rows.jsonl", std::string(two_rows) + two_rows + two_rows);
  CHECK(read_task_items(small_task(TaskKind::choice), folder.path(), 3).items.size() == 3);  // equal rows are as many items
}

TEST_CASE("task items: solved examples, and a set that is divided by a field") {
  Scratch const folder;
  folder.write("rows.jsonl", two_rows);
  folder.write("solved.jsonl", R"({"q": "s", "options": ["no", "yes"], "label": 1})");
  TaskFile task = small_task(TaskKind::choice);
  task.train = "solved.jsonl";
  task.few_shot = 1;
  CHECK(read_task_items(task, folder.path()).items[0].options[2].context == "Q: s\nA: yes\n\nQ: one\nA:");
  task.few_shot = 2;
  CHECK_THROWS_AS(read_task_items(task, folder.path()), Error);

  std::string rows;
  for (int i = 0; i < 400; ++i) rows += R"({"q": ")" + std::to_string(i % 200) + R"(", "options": ["a", "b"], "label": 0})" + "\n";
  folder.write("both.jsonl", rows);
  task.few_shot = 0;
  task.source = task.train = "both.jsonl";
  task.split_by = "q";
  task.split_share = 0.2;
  std::set<std::string> scored, trained;
  for (TaskItem const& item : read_task_items(task, folder.path()).items) scored.insert(item.options[0].context);
  for (TaskItem const& item : read_training_items(task, folder.path()).items) trained.insert(item.options[0].context);
  CHECK(scored.size() + trained.size() == 200);  // no question in both
  CHECK(scored.size() > 20);
  CHECK(scored.size() < 65);
}

TEST_CASE("task items: a folder of ready requests") {
  Scratch const folder;
  folder.write("ready/requests.jsonl", R"({"doc_id": 0, "label": 1, "request": {"context": "C", "continuation": " x"}}
{"doc_id": 0, "label": 1, "request": {"context": "C", "continuation": " yy"}}
{"doc_id": 1, "label": 0, "request": {"context": "D", "continuation": " z"}}
{"doc_id": 1, "label": 0, "request": {"context": "D", "continuation": " w"}}
)");
  TaskFile task = small_task(TaskKind::choice);
  task.source = "ready";
  TaskItems const items = read_task_items(task, folder.path());
  REQUIRE(items.items.size() == 2);
  CHECK(items.items[0].options[1].continuation == " yy");
  CHECK(items.items[0].options[1].choice == "yy");
  CHECK(items.items[0].answer == 1);
  folder.write("ready/requests.jsonl", R"({"doc_id": 0, "label": 1, "request": {"context": "C", "continuation": " x"}})");
  CHECK_THROWS_AS(read_task_items(task, folder.path()), Error);
}
