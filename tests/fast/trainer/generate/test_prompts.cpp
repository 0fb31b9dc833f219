#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "tests/fast/scratch.h"
#include "trainer/generate/prompts.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs prompts_in(std::string const& name, std::string const& content) {
  Scratch const scratch;
  Pairs pairs;
  for (Prompt const& prompt : read_prompts(scratch.write(name, content)))
    pairs.emplace_back(prompt.id.is_string() ? prompt.id.get<std::string>() : prompt.id.dump(), prompt.text);
  return pairs;
}

void expect_refused(std::string const& name, std::string const& content, std::string const& place, std::string const& why) {
  INFO(content);
  try {
    prompts_in(name, content);
    FAIL("was read");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::data);
    CHECK_THAT(error.what(), ContainsSubstring(name + place) && ContainsSubstring(why));
  }
}

}  // namespace

TEST_CASE("prompts: every line of a text file is one") {
  CHECK(prompts_in("p.txt", "one\ntwo words\n") == Pairs{{"1", "one"}, {"2", "two words"}});
  CHECK(prompts_in("p.txt", "one\r\n\n na\u00efve \nlast") == Pairs{{"1", "one"}, {"2", ""}, {"3", " na\u00efve "}, {"4", "last"}});
  CHECK(prompts_in("p.txt", "{\"prompt\": 1}\n") == Pairs{{"1", "{\"prompt\": 1}"}});
  CHECK(prompts_in("p.txt", "\xef\xbb\xbfone\r\n") == Pairs{{"1", "one"}});
}

TEST_CASE("prompts: every line of a .jsonl file is an object with a prompt and perhaps an id") {
  CHECK(prompts_in("p.jsonl",
                   "{\"prompt\": \"a\\nb\", \"id\": \"first\"}\n{\"prompt\": \"\"}\r\n"
                   "{\"id\": 7, \"other\": [1], \"prompt\": \"\\u00e9\"}\n \n\n") == Pairs{{"first", "a\nb"}, {"2", ""}, {"7", "\u00e9"}});
}

TEST_CASE("prompts: the rows of a file of any name that rows have") {
  Pairs const two{{"1", "a"}, {"2", "b"}};
  std::string const rows = "{\"prompt\": \"a\"}\n\n{\"prompt\": \"b\"}\n", array = "[{\"prompt\": \"a\"},\n {\"prompt\": \"b\"}]";
  for (std::string const name : {"p.jsonl", "P.JSONL", "p.ndjson", "p.json"}) {
    CHECK(prompts_in(name, rows) == two);
    CHECK(prompts_in(name, "\xef\xbb\xbf" + array) == two);
  }
}

TEST_CASE("prompts: what is no prompt is refused with its line") {
  expect_refused("p.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"\n", ":2:", "not JSON");
  expect_refused("p.jsonl", "[\"a\"]\n", ":1:2: ", "a text");
  expect_refused("p.json", "{\"prompt\": 1}\n", ":1: ", "a number");
  expect_refused("p.jsonl", "{\"prompt\": \"a\", \"seed\": 18446744073709551615}", ":1: ", "too large");
  expect_refused("p.jsonl", "{\"text\": \"a\", \"id\": 1}\n", ":1: ", "id, text");
  expect_refused("p.jsonl", "{}\n", ":1: ", "nothing");
  expect_refused("p.jsonl", "{\"prompt\": null}\n", ":1: ", "null");
  expect_refused("p.jsonl", "{\"prompt\": \"a\", \"id\": 1.5}\n", ":1: ", "1.5");
  expect_refused("p.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \"\xff\"}\n", ":2:13: ", "UTF-8");
  expect_refused("p.txt", "a\nb\n\u00e9\xc3\n", ":3: ", "byte 3 ");
  for (std::string const name : {"p.txt", "p.jsonl"}) expect_refused(name, "", ": ", "no prompts");
  expect_refused("p.jsonl", "\n\n", ": ", "no prompts");
  CHECK_THROWS_WITH(read_prompts("absent.jsonl"), ContainsSubstring("absent.jsonl"));
}

TEST_CASE("prompts: ids keep their type, and a row may have a seed of its own") {
  Scratch const scratch;
  auto const prompts = read_prompts(scratch.write("p.jsonl", R"({"prompt": "a", "id": 7, "seed": 3}
{"prompt": "b", "id": "7"})"));
  CHECK(prompts[0].id.dump() == "7");
  CHECK(prompts[0].seed == 3);
  CHECK(prompts[1].id.dump() == "\"7\"");
  CHECK_FALSE(prompts[1].seed);
  expect_refused("p.jsonl", "{\"prompt\": \"a\", \"seed\": -1}", ":1", "'seed' is -1, not a whole number");
}

TEST_CASE("prompts: a value that nests without an end is refused") {
  std::string const deep(200'000, '[');
  expect_refused("p.jsonl", R"({"prompt": "a", "id": )" + deep + std::string(deep.size(), ']') + "}",
                 ":1: ", "nests more than 128 levels deep");
}
