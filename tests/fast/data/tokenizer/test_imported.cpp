#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>

#include "core/error.h"
#include "core/files.h"
#include "data/tokenizer/parallel_encoder.h"
#include "tests/fast/data/tokenizer/imported_json.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

std::string const mark = "\xe2\x96\x81";
TestJson const digits = {{"type", "Digits"}, {"individual_digits", true}};
TestJson const plain_bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};

TestJson sequence(std::vector<TestJson> const& steps) { return {{"type", "Sequence"}, {"pretokenizers", steps}}; }
TestJson split(std::string const& pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

// Text of all kinds, in which some bytes are no UTF-8.
std::string mixed_text(uint64_t seed) {
  static std::vector<std::string> const parts{"the", " cat",  "  ",           "\n",           "\xc3\xa9", "\xff", "12",
                                              "'s",  "<end>", "\xe6\x97\xa5", "\xf0\x9f\x98", ", ",       "a"};
  std::string text;
  for (unsigned char const choice : random_bytes(80, seed)) text += parts[choice % parts.size()];
  return text;
}

}  // namespace

TEST_CASE("imported tokenizer: the merge that stands first comes first, the leftmost of equal ones") {
  auto const tokenizer = tokenizer_from(byte_level_json({{"b", "c"}, {"a", "b"}, {"a", "bc"}, {"a", "a"}}));
  CHECK(tokenizer->encode("abc") == Ids{258});  // bc, then a + bc
  CHECK(tokenizer->encode("abd") == Ids{257, 'd'});
  CHECK(tokenizer->encode("aaa") == Ids{259, 'a'});
  CHECK(tokenizer->encode("aabc") == Ids{'a', 258});  // a + bc stands before a + a
  CHECK(tokenizer->encode("").empty());
  CHECK(tokenizer->kind() == "hf-bpe");
  CHECK(tokenizer->vocab_size() == 501);
  CHECK(tokenizer->piece(258) == "abc");
  CHECK(tokenizer->piece(400).empty());
  TestJson old = byte_level_json({{"b", "c"}});
  old["model"]["merges"] = {"b c"};
  old["model"].erase("type");
  CHECK(tokenizer_from(old)->encode("bc") == Ids{256});
}

TEST_CASE("imported tokenizer: pre-tokenizers keep merges inside of words") {
  std::string const e1 = "\xc3\x83", e2 = "\xc2\xa9";  // the names of the bytes of "é"
  TestMerges const merges{{"1", "2"}, {"t", "'"}, {"'", "s"}, {e1, e2}, {"a", e1 + e2}, {"\xc4\xa0", "a"}, {"\xc4\xa0", "\xc4\xa0"}};
  TestJson json = byte_level_json(merges);
  auto tokenizer = tokenizer_from(json);
  CHECK(tokenizer->encode("12") == Ids{256});
  CHECK(tokenizer->encode("it's") == Ids{'i', 't', 258});  // 's is a word, so t' is none
  CHECK(tokenizer->encode("t'x") == Ids{'t', '\'', 'x'});
  CHECK(tokenizer->encode("a\xc3\xa9") == Ids{260});  // one word of letters
  CHECK(tokenizer->encode("  a") == Ids{' ', 261});   // the last space goes with the word
  CHECK(tokenizer->encode("   ") == Ids{262, ' '});
  json["pre_tokenizer"] = sequence({digits, json["pre_tokenizer"]});
  CHECK(tokenizer_from(json)->encode("a12") == Ids{'a', '1', '2'});
  json["pre_tokenizer"] = plain_bytes;
  CHECK(tokenizer_from(json)->encode("t'x") == Ids{257, 'x'});
  json["pre_tokenizer"] = sequence({split("[a-z]'"), plain_bytes});
  CHECK(tokenizer_from(json)->encode("t's") == Ids{257, 's'});
  json["pre_tokenizer"] = {{"type", "ByteLevel"}};  // puts a space before a text by default
  CHECK(tokenizer_from(json)->encode("a") == Ids{261});
  CHECK(tokenizer_from(json)->encode(" a") == Ids{261});
  CHECK(tokenizer_from(json)->encode("x<end>a") == Ids{' ', 'x', 500, 261});
}

TEST_CASE("imported tokenizer: ignore_merges, bytes without a token, NFC") {
  TestJson json = byte_level_json({{"a", "b"}});
  json["model"]["vocab"]["xyz"] = 300;
  CHECK(tokenizer_from(json)->encode("xyz") == Ids{'x', 'y', 'z'});
  json["model"]["ignore_merges"] = true;
  CHECK(tokenizer_from(json)->encode("xyz") == Ids{300});
  json["model"]["vocab"].erase("q");
  CHECK(tokenizer_from(json)->encode("aqqb") == Ids{256});  // dropped before anything is merged
  json["model"]["unk_token"] = "!";
  CHECK(tokenizer_from(json)->encode("aqqb") == Ids{'a', '!', '!', 'b'});
  json["model"]["fuse_unk"] = true;
  CHECK(tokenizer_from(json)->encode("aqqb") == Ids{'a', '!', 'b'});

  std::string const decomposed = "ae\xcc\x81\xff\xcc\x81", composed = "a\xc3\xa9\xff\xcc\x81";
  auto tokenizer = tokenizer_from(byte_level_json());
  CHECK(tokenizer->decode(tokenizer->encode(decomposed)) == decomposed);
  json = byte_level_json();
  json["normalizer"] = {{"type", "NFC"}};
  tokenizer = tokenizer_from(json);
  CHECK(tokenizer->decode(tokenizer->encode(decomposed)) == composed);
  CHECK(tokenizer->decode(tokenizer->encode("x\xe2\x84\xa6 e" + decomposed)) == "x\xce\xa9 e" + composed);
}

TEST_CASE("imported tokenizer: added tokens in a text") {
  TestJson json = byte_level_json();
  json["added_tokens"].push_back(test_added(501, "<end>>"));
  json["added_tokens"].push_back(test_added(502, "[l]", {{"lstrip", true}}));
  json["added_tokens"].push_back(test_added(503, "[r]", {{"rstrip", true}}));
  json["added_tokens"].push_back(test_added(504, "own", {{"special", false}, {"normalized", true}}));
  auto tokenizer = tokenizer_from(json);
  CHECK(tokenizer->document_end() == 500);
  CHECK(tokenizer->encode("a<end>b") == Ids{'a', 500, 'b'});
  CHECK(tokenizer->encode("<end>>") == Ids{501});  // the longest
  CHECK(tokenizer->encode("<en") == Ids{'<', 'e', 'n'});
  CHECK(tokenizer->encode("a \t\xe3\x80\x80[l] b") == Ids{'a', 502, ' ', 'b'});
  CHECK(tokenizer->encode("a [r] \xc2\xa0\nb") == Ids{'a', ' ', 503, 'b'});
  CHECK(tokenizer->encode("[r] [l]") == Ids{503, 502});
  CHECK(tokenizer->encode("owned") == Ids{504, 'e', 'd'});
  CHECK(tokenizer->piece(501) == "<end>>");
  CHECK(tokenizer->piece(500).empty());  // it ends a document
  ImportSettings settings;
  settings.split_special_tokens = true;
  tokenizer = tokenizer_from(json, settings);
  CHECK(tokenizer->encode("<end>own") == Ids{'<', 'e', 'n', 'd', '>', 504});
}

TEST_CASE("imported tokenizer: U+2581 for a space and tokens for bytes") {
  TestMerges const merges{{mark, "a"}, {"b", "c"}, {mark, mark}, {"c", mark + "a"}};
  TestJson json = marked_json(merges);
  auto const ids = [&](std::string const& text) { return tokenizer_from(json)->encode(text); };
  CHECK(ids(" a") == Ids{283});
  CHECK(ids(mark + "a") == Ids{283});
  CHECK(ids("c a") == Ids{286});  // a merge over the border of words
  CHECK(ids("bc") == Ids{284});
  CHECK(ids("\xc3\xa9"
            "a\xff") == Ids{0xC3, 0xA9, 257, 0xFF});
  CHECK(ids("A\n") == Ids{'A', '\n'});
  CHECK(ids("<0x41>").size() == 6);  // a text, no byte
  CHECK(ids("x<end> a") == Ids{280, 500, 283});
  json["pre_tokenizer"]["prepend_scheme"] = "first";
  CHECK(ids("a<end>a") == Ids{283, 500, 257});
  CHECK(ids(" a") == Ids{283});
  json["pre_tokenizer"]["prepend_scheme"] = "always";
  CHECK(ids("a<end>a") == Ids{283, 500, 283});
  json["pre_tokenizer"]["split"] = true;
  CHECK(ids("c a") == Ids{256, 259, 283});
  CHECK(ids("b   a") == Ids{256, 258, 256, 256, 283});
  json["pre_tokenizer"] = nullptr;
  json["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "Prepend"}, {"prepend", mark}}, {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", mark}}}}};
  CHECK(ids("a") == Ids{283});
  CHECK(ids(" a") == Ids{256, 283});  // ranks: mark + a stands before mark + mark
  auto const tokenizer = tokenizer_from(json);
  CHECK(tokenizer->decode(ids("ab \xc3\xa9")) == " ab \xc3\xa9");
}

TEST_CASE("imported tokenizer: what it does not change comes back") {
  TestJson patterns = byte_level_json();
  patterns["pre_tokenizer"] = sequence({split("\\p{N}{1,3}"), split("[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\s+(?!\\S)|\\s+"), plain_bytes});
  for (TestJson const& json : {byte_level_json({{"t", "h"}, {"th", "e"}}), patterns, marked_json({{"t", "h"}, {"th", "e"}, {mark, "c"}})}) {
    ImportSettings settings;
    settings.split_special_tokens = true;
    auto const tokenizer = tokenizer_from(json, settings);
    for (uint64_t seed = 0; seed < 200; ++seed) {
      for (std::string const& text : {random_bytes(seed, seed), mixed_text(seed)}) {
        Ids const ids = tokenizer->encode(text);
        REQUIRE(tokenizer->decode(ids) == text);
      }
    }
    auto const again = parse_tokenizer(tokenizer->serialized());
    CHECK(again->fingerprint() == tokenizer->fingerprint());
    CHECK(again->encode(mixed_text(1)) == tokenizer->encode(mixed_text(1)));
  }
}

TEST_CASE("imported tokenizer: the parts of a text have the ids of the text") {
  std::string text;
  for (uint64_t seed = 0; text.size() < 900'000; ++seed) text += mixed_text(seed) + "a b the cat sat\n";
  TestJson prefixed = byte_level_json({{"t", "h"}});
  prefixed["pre_tokenizer"].erase("add_prefix_space");
  TestJson always = marked_json({{"t", "h"}, {mark, "c"}}), before = always;
  always["pre_tokenizer"]["prepend_scheme"] = "always";
  before["pre_tokenizer"] = nullptr;
  before["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "Prepend"}, {"prepend", mark}}, {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", mark}}}}};
  for (TestJson const& json : {byte_level_json({{"t", "h"}}), prefixed, always, before}) {
    auto const tokenizer = tokenizer_from(json);
    auto const parts = tokenizer->split_for_encoding(text);
    CHECK(parts.size() == 4);
    Ids joined;
    for (std::string_view const part : parts) {
      CHECK(tokenizer->split_for_encoding(part).size() == 1);
      for (int32_t const id : tokenizer->encode(part)) joined.push_back(id);
    }
    CHECK(joined == tokenizer->encode(text));
    ParallelEncoder encoder(*tokenizer, 3, [&](int, Ids&& ids, int64_t bytes) {
      CHECK(ids == joined);
      CHECK(bytes == static_cast<int64_t>(text.size()));
    });
    encoder.submit(0, text);
    encoder.finish();
  }
  // Where a cut might change ids there is none.
  TestJson reaching = marked_json({{"c", mark}}), unknown = byte_level_json(), spaced = byte_level_json();
  unknown["pre_tokenizer"] = sequence({split("[a-z ]+"), plain_bytes});
  spaced["added_tokens"].push_back(test_added(501, "the cat"));
  for (TestJson const& json : {reaching, unknown, spaced}) CHECK(tokenizer_from(json)->split_for_encoding(text).size() == 1);
}

TEST_CASE("imported tokenizer: time grows little faster than the length of one word") {
  auto const tokenizer = tokenizer_from(marked_json({{"a", "b"}, {"ab", "ab"}, {"c", mark}}));
  auto const seconds = [&](size_t size) {
    std::string text;
    for (unsigned char const byte : random_bytes(size, 5)) text += "abab cd"[byte % 7];
    auto const begin = std::chrono::steady_clock::now();
    tokenizer->encode(text);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  seconds(100'000);
  CHECK(seconds(1'000'000) < 40 * seconds(100'000) + 0.5);
}
