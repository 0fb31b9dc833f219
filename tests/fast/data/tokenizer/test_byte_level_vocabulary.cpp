#include "data/tokenizer/imported/byte_level_vocabulary.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/error.h"
#include "data/tokenizer/imported/pattern.h"
#include "tests/fast/data/tokenizer/imported_json.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

// Cut by these patterns one after another.
TestJson cut_by(TestJson json, std::vector<std::string> const& patterns) {
  TestJson steps = TestJson::array();
  for (std::string const& pattern : patterns)
    steps.push_back({{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
  json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", steps}};
  return json;
}

ByteLevelVocabulary vocabulary_of(TestJson const& json, ImportSettings const& settings = {}) {
  return byte_level_vocabulary(*tokenizer_from(json, settings));
}

void check_refused(TestJson const& json, std::string const& why) {
  INFO(why);
  auto const tokenizer = tokenizer_from(json);
  CHECK_THROWS_WITH(byte_level_vocabulary(*tokenizer), ContainsSubstring(why) && ContainsSubstring("--format hf"));
}

}  // namespace

TEST_CASE("byte-level vocabulary: llama.cpp's name for a pattern is found, and kept where there was one") {
  TestJson const plain = byte_level_json({{"t", "h"}});
  CHECK(vocabulary_of(plain).preparation == "gpt-2");
  ImportSettings settings;
  settings.preparation = "phi-2";
  CHECK(vocabulary_of(plain, settings).preparation == "phi-2");
  settings.preparation = "qwen2";  // the file says otherwise
  CHECK(vocabulary_of(plain, settings).preparation == "gpt-2");
  TestJson smollm = plain;
  smollm["pre_tokenizer"] = {{"type", "Sequence"},
                             {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, plain["pre_tokenizer"]}}};
  CHECK(vocabulary_of(smollm).preparation == "smollm");
  TestJson llama3 = cut_by(plain, {llama3_pattern});
  llama3["model"]["ignore_merges"] = true;
  CHECK(vocabulary_of(llama3).preparation == "llama-bpe");
  TestJson qwen2 = cut_by(plain, {qwen2_pattern});
  qwen2["normalizer"] = {{"type", "NFC"}};
  CHECK(vocabulary_of(qwen2).preparation == "qwen2");
  CHECK_THAT(vocabulary_of(qwen2).note, ContainsSubstring("NFC"));
  CHECK(vocabulary_of(plain).note.empty());
}

TEST_CASE("byte-level vocabulary: tokens, their types, and merges") {
  TestJson json = byte_level_json({{"t", "h"}, {"1", "2"}});
  json["added_tokens"].push_back(test_added(258, "[user]", {{"special", false}}));
  json["model"]["merges"].push_back({"t", "h"});  // counts here, where it stands last
  ImportSettings settings;
  settings.chat_template = "{{ x }}";
  settings.vocab_size = 503;
  ByteLevelVocabulary const found = vocabulary_of(json, settings);
  REQUIRE(found.tokens.size() == 503);
  CHECK(found.tokens['A'] == "A");
  CHECK(found.tokens[' '] == "\xc4\xa0");
  CHECK(found.tokens[256] == "th");
  CHECK(found.tokens[258] == "[user]");
  CHECK(found.tokens[500] == "<end>");
  CHECK(found.tokens[502] == "[PAD502]");
  CHECK(found.types[256] == 1);
  CHECK(found.types[258] == 4);
  CHECK(found.types[500] == 3);
  CHECK(found.types[502] == 5);
  CHECK(found.merges == std::vector<std::string>{"1 2", "t h"});
  CHECK(found.chat_template == "{{ x }}");
}

TEST_CASE("byte-level vocabulary: what gets other ids in llama.cpp is refused with the reason") {
  TestJson const plain = byte_level_json({{"t", "h"}});
  check_refused(marked_json(), "scores");
  check_refused(cut_by(plain, {}), "no pattern");
  check_refused(cut_by(plain, {"a+"}), "pattern a+");
  check_refused(cut_by(plain, {llama3_pattern}), "no name known here");  // llama.cpp's llama-bpe ignores merges
  TestJson json = plain;
  json["pre_tokenizer"]["add_prefix_space"] = true;
  check_refused(json, "add_prefix_space");
  json = plain;
  json["added_tokens"].push_back(test_added(501, "<pad>", {{"lstrip", true}}));
  check_refused(json, "'<pad>'");
  json = plain;
  json["added_tokens"].push_back(test_added(501, "d><x"));
  check_refused(json, "'<end>' and 'd><x'");
  json["added_tokens"].back() = test_added(501, "th");
  check_refused(json, "two of its ids are called 'th'");
  json = plain;  // runs of one character are cut alike
  json["added_tokens"].insert(json["added_tokens"].end(), {test_added(501, "  "), test_added(502, "   ")});
  CHECK(vocabulary_of(json).tokens[502] == "   ");
}

TEST_CASE("byte-level vocabulary: bytes without a token") {
  TestJson json = byte_level_json();
  json["model"]["vocab"].erase(byte_level_names()[4]);
  json["model"]["vocab"].erase(byte_level_names()[0xFF]);  // which UTF-8 does not have
  CHECK_THAT(vocabulary_of(json).note, ContainsSubstring("(0x04)"));
  json["model"]["unk_token"] = "a";
  check_refused(json, "0x04");
}
