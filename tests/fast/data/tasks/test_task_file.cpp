// Task files and templates: what is read, and what is said of faults.

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/error.h"
#include "data/tasks/task_file.h"
#include "data/tasks/text_template.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

std::string const choice_task = "kind: choice\nsource: a.jsonl\nprompt: \"Q: {q}\\nA:\"\nchoices: options\nanswer: label\n";

std::string task_error(std::string const& text) {
  Scratch const folder;
  try {
    load_task(folder.write("t.yaml", text));
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::config);
    return error.what();
  }
  return "no error";
}

std::string filled(std::string const& text) {
  return TextTemplate(text).fill([](std::string const& field) { return field == "s" ? "Ann met _ in town. " : "<" + field + ">"; });
}

}  // namespace

TEST_CASE("text template: fields, filters one after another, braces") {
  CHECK(filled("a {x} b {y}") == "a <x> b <y>");
  CHECK(filled("{s|before _}B") == "Ann met B");
  CHECK(filled("{s|after _|trim}") == "in town.");
  CHECK(filled("{s|after met |before in}") == "_ ");
  CHECK(filled("{s|after nothing}").empty());
  CHECK(filled("{s|before nothing}") == "Ann met _ in town. ");
  CHECK(TextTemplate("{t|before _}-{t|after _}").fill([](std::string const&) { return "a_b_c"; }) == "a-b_c");
  CHECK(filled("{{x}} {x}") == "{x} <x>");
  for (char const* wrong : {"{x", "x}", "{}", "{x|upper}", "{x|before}", "{x|before }", "{x|trim 3}"})
    CHECK_THROWS_AS(TextTemplate(wrong), Error);
}

TEST_CASE("task file: keys, defaults, and a file that includes another") {
  Scratch const folder;
  folder.write("base.yaml", choice_task + "metrics: [acc_norm, acc]\n");
  TaskFile const task = load_task(folder.write("mine.yaml", "include: base.yaml\nsource: b.jsonl\nfew_shot: 2\ntrain: c.jsonl\n"));
  CHECK(task.name == "mine");
  CHECK(task.source == "b.jsonl");
  CHECK(task.prompt == "Q: {q}\nA:");
  CHECK(task.continuation == " {choice}");
  CHECK(task.metrics == std::vector<std::string>{"acc_norm", "acc"});
  CHECK(task.few_shot == 2);
}

TEST_CASE("task file: every problem is named with its line and what is allowed") {
  CHECK_THAT(task_error(choice_task + "promt: x\n"), ContainsSubstring("t.yaml:6:1: error: unknown key 'promt' (did you mean 'prompt'?)"));
  CHECK_THAT(task_error("kind: chioce\nsource: a\n"), ContainsSubstring("t.yaml:1:7") && ContainsSubstring("did you mean 'choice'?"));
  CHECK_THAT(task_error("kind: choice\nprompt: x {choice}\n"),
             ContainsSubstring("needs its source") && ContainsSubstring("needs 'choices'") && ContainsSubstring("needs 'answer'"));
  CHECK_THAT(task_error(choice_task + "labels: [a, b]\n"), ContainsSubstring("t.yaml:6:9") && ContainsSubstring("has no 'labels'"));
  CHECK_THAT(task_error(choice_task + "metrics: [accuracy]\n"), ContainsSubstring("'accuracy' is no metric (acc, acc_norm"));
  CHECK_THAT(task_error("kind: label\nsource: a\nprompt: \"{p}\"\nanswer: l\nlabels: [x, y]\nwords: [X]\n"),
             ContainsSubstring("1 words for 2 labels"));
  CHECK_THAT(task_error("kind: pair\nsource: a\nchoices: [a, b, c]\n"), ContainsSubstring("compares two fields"));
  CHECK_THAT(task_error("kind: cloze\nsource: a\nprompt: \"{p}\"\ncontinuation: \" {choice}\"\n"), ContainsSubstring("has no {choice}"));
  CHECK_THAT(task_error(choice_task + "continuation: \" x\"\n"), ContainsSubstring("all options would be the same"));
  CHECK_THAT(task_error(choice_task + "split_by: q\n"), ContainsSubstring("split_by needs split_share"));
  CHECK_THAT(task_error(choice_task + "train: a.jsonl\n"), ContainsSubstring("are the same file"));
  CHECK_THAT(task_error(choice_task + "few_shot: 1\n"), ContainsSubstring("which this task lacks"));
  CHECK_THAT(task_error("include: t.yaml\n"), ContainsSubstring("in a circle"));
  CHECK_THAT(task_error("- a\n"), ContainsSubstring("is a map of keys"));
  CHECK_THROWS_AS(load_task("/nowhere/t.yaml"), Error);
}

TEST_CASE("task files: names, folders and globs; those that ship load") {
  std::string const folder = std::string(ISOBATH_SOURCE_DIR) + "/configs/tasks";
  std::vector<fs::path> const shipped = find_task_files({folder});
  CHECK(shipped.size() >= 30);
  for (fs::path const& path : shipped) CHECK_NOTHROW(load_task(path));
  CHECK(find_task_files({folder + "/arc-*.yaml"}).size() == 3);
  CHECK_THROWS_AS(find_task_files({folder + "/sick.yaml", folder + "/s*.yaml"}), Error);  // twice
  CHECK_THROWS_AS(find_task_files({"no-such-task"}), Error);
}
