#include "data/tasks/examples.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <map>

#include "data/packed_examples.h"
#include "data/prepare_examples.h"
#include "tests/fast/data/corner.h"

using namespace isobath;
using namespace isobath::test;
using Catch::Matchers::ContainsSubstring;

namespace {

// Two tasks: sums with labels, and words with options.
struct TaskCorner {
  Scratch scratch;
  Config config;

  TaskCorner() {
    std::string train, source, words;
    for (int i = 0; i < 200; ++i) {
      std::string const row = "{\"a\": " + std::to_string(i) + ", \"even\": \"" + (i % 2 == 0 ? "yes" : "no") + "\", \"text\": \"number " +
                              std::to_string(i) + "\"}\n";
      (i < 40 ? source : train) += row;
    }
    for (int i = 0; i < 30; ++i)
      words += "{\"q\": \"word " + std::to_string(i) +
               "\", \"options\": [\"left\", \"right\", \"up\"], \"right\": " + std::to_string(i % 3) + "}\n";
    scratch.write("rows/even-train.jsonl", train);
    scratch.write("rows/even.jsonl", source);
    scratch.write("rows/words.jsonl", words);
    task("even",
         "kind: label\nsource: even.jsonl\ntrain: even-train.jsonl\nprompt: \"{text} is even:\"\nanswer: even\n"
         "labels: [yes, no]\nwords: [True, False]\n");
    task("words",
         "kind: choice\nsource: words.jsonl\ntrain: words.jsonl\nsplit_by: q\nsplit_share: 0.3\nprompt: \"{q} goes\"\n"
         "choices: options\nanswer: right\n");
    config.data.tasks = {path("even"), path("words")};
    config.data.cache_dir = (scratch / "cache").string();
    config.eval.tasks_folder = (scratch / "rows").string();
    config.tokenizer.kind = "byte";
  }
  void task(std::string const& name, std::string const& text) const { scratch.write("tasks/" + name + ".yaml", text); }
  std::string path(std::string const& name) const { return (scratch / "tasks" / (name + ".yaml")).string(); }
};

std::map<std::string, int> counted(std::vector<TaskOption> const& examples) {
  std::map<std::string, int> counts;
  for (TaskOption const& example : examples) ++counts[example.context + "|" + example.continuation];
  return counts;
}

// The examples of prepared shards as "question|answer", by the marks of their targets.
std::vector<std::string> stored_examples(PreparedData const& data, std::vector<fs::path> const& shards) {
  TokenStream const stream(shards);
  std::vector<int64_t> tokens(static_cast<size_t>(stream.size()));
  stream.copy(0, tokens);
  std::vector<bool> const targets = stream.targets(0, stream.size());
  std::vector<std::string> found{""};
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] == data.tokenizer->document_end()) {
      CHECK_FALSE(targets[i]);
      if (i + 1 < tokens.size()) found.emplace_back();
      continue;
    }
    if (targets[i] && (i == 0 || !targets[i - 1])) found.back() += "|";
    found.back() += data.tokenizer->piece(static_cast<int32_t>(tokens[i]));
  }
  return found;
}

}  // namespace

TEST_CASE("examples: every training row with its right answer, and the rows that are scored apart") {
  TaskCorner const corner;
  TaskExamples const examples = read_examples(corner.config);
  auto const train = counted(examples.train), valid = counted(examples.valid);
  CHECK(train.at("number 41 is even:| False") == 1);
  CHECK(train.at("number 198 is even:| True") == 1);
  CHECK(valid.at("number 3 is even:| False") == 1);
  CHECK(train.size() == examples.train.size());
  CHECK(train.size() + valid.size() == 230);
  for (auto const& [example, count] : valid) CHECK_FALSE(train.contains(example));
  for (int i = 0; i < 30; ++i) {
    std::string const example =
        "word " + std::to_string(i) + " goes| " + std::vector<std::string>{"left", "right", "up"}[static_cast<size_t>(i) % 3];
    CHECK(train.contains(example) != valid.contains(example));
  }
}

TEST_CASE("examples: weights repeat examples, and take fractions of them that are the same every time") {
  TaskCorner corner;
  auto const of_task = [](std::map<std::string, int> const& counts, std::string const& word) {
    std::map<std::string, int> found;
    for (auto const& [example, count] : counts)
      if (example.starts_with(word)) found[example] = count;
    return found;
  };
  auto const all = counted(read_examples(corner.config).train);
  corner.config.data.task_weights = {0.25, 2};
  auto const weighted = counted(read_examples(corner.config).train);
  auto const quarter = of_task(weighted, "number"), twice = of_task(weighted, "word");
  CHECK((quarter.size() > 20 && quarter.size() < 60));  // of 160
  CHECK(twice.size() == of_task(all, "word").size());
  for (auto const& [example, count] : twice) CHECK(count == 2);
  CHECK(counted(read_examples(corner.config).train) == weighted);
  corner.config.data.task_weights = {1.25, 1};
  int64_t two = 0;
  for (auto const& [example, count] : of_task(counted(read_examples(corner.config).train), "number")) {
    CHECK(count == 1 + quarter.contains(example));
    two += count == 2;
  }
  CHECK(two == std::ssize(quarter));
  corner.config.data.task_weights = {1e-9, 1e-9};
  CHECK_THAT(error_of([&] { read_examples(corner.config); }, ExitCode::config), ContainsSubstring("no example is left"));
}

TEST_CASE("examples: prepared once for the same contents, weights and tokenizer") {
  TaskCorner corner;
  PreparedData const data = prepare_data(corner.config);
  TaskExamples const examples = read_examples(corner.config);
  for (auto const& [shards, expected] : {std::pair(data.train, examples.train), std::pair(data.valid, examples.valid)}) {
    std::vector<std::string> const found = stored_examples(data, shards);
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) CHECK(found[i] == expected[i].context + "|" + expected[i].continuation);
  }
  CHECK(data.documents == 230);
  CHECK_FALSE(data.from_cache);
  CHECK(prepare_data(corner.config).from_cache);
  CHECK_FALSE(data.valid_text.empty());

  corner.config.data.task_weights = {1, 2};
  PreparedData const weighted = prepare_data(corner.config);
  CHECK(weighted.folder != data.folder);
  CHECK(weighted.valid_text == data.valid_text);  // the same questions
  corner.config.data.task_weights = {};
  corner.scratch.write("rows/even-train.jsonl", "{\"a\": 1, \"even\": \"no\", \"text\": \"number x\"}\n");
  PreparedData const changed = prepare_data(corner.config);
  CHECK((changed.folder != data.folder && changed.valid_text == data.valid_text));

  corner.config.tokenizer = {"bpe", 270, 1 << 20};
  PreparedData const trained = prepare_data(corner.config);
  CHECK(trained.tokenizer->vocab_size() == 270);
  CHECK(trained.train_tokens < changed.train_tokens);
  CHECK(make_tokenizer(corner.config)->fingerprint() == trained.tokenizer->fingerprint());
}

TEST_CASE("examples: what is wrong names the file and the key") {
  TaskCorner corner;
  auto const error = [&](ExitCode code) { return error_of([&] { read_examples(corner.config); }, code); };
  corner.config.data.task_weights = {1};
  CHECK_THAT(error(ExitCode::config), ContainsSubstring("data.task_weights has 1 numbers for 2 tasks"));
  corner.config.data.task_weights = {};
  corner.task("even", "kind: label\nsource: even.jsonl\nprompt: \"{text}\"\nanswer: even\nlabels: [yes, no]\nwords: [True, False]\n");
  CHECK_THAT(error(ExitCode::config), ContainsSubstring("even.yaml") && ContainsSubstring("has no `train`"));
  corner.config.data.tasks = {corner.path("absent")};
  CHECK_THAT(error(ExitCode::config), ContainsSubstring("absent.yaml") && ContainsSubstring("no such file"));
  corner.config.data.tasks = {corner.path("words")};
  corner.config.eval.tasks_folder = (corner.scratch / "elsewhere").string();
  CHECK_THAT(error(ExitCode::data), ContainsSubstring("words.jsonl") && ContainsSubstring("elsewhere"));
}
