#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <thread>
#include <unordered_map>

#include "core/error.h"
#include "core/files.h"
#include "data/tokenizer/bpe_tokenizer.h"
#include "data/tokenizer/parallel_encoder.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

std::string sample_text() {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    std::string const n = std::to_string(i * 7919 % 1000);
    text += "The quick brown fox number " + n + " jumps over the lazy dog.\n\nif (value_" + n + " >= limit) {\n    return value_" + n +
            " * 2;  // na\xc3\xafve \xe2\x80\x94 \xe6\x97\xa5\xe6\x9c\xac\n}\n\ttabbed\tline " + n + "\r\n";
  }
  return text;
}

Tokenizer const& trained() {
  static auto const tokenizer = train_bpe({sample_text()}, 400);
  return *tokenizer;
}

std::string any_byte() {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  return all;
}

void expect_lossless(Tokenizer const& tokenizer, std::string const& text) {
  std::vector<int32_t> const ids = tokenizer.encode(text);
  for (int32_t const id : ids) {
    REQUIRE(id >= 0);
    REQUIRE(id < tokenizer.vocab_size());
    REQUIRE(id != tokenizer.document_end());
    REQUIRE_FALSE(tokenizer.piece(id).empty());
  }
  REQUIRE(tokenizer.decode(ids) == text);
}

// Random concatenations of what could go wrong.
std::string mixture(uint64_t seed) {
  static std::vector<std::string> const parts{"the",
                                              " quick",
                                              "    ",
                                              "\n",
                                              "\n\n\n",
                                              "\t",
                                              std::string(1, '\0'),
                                              "\xe2\x96\x81",
                                              "\xe2\x96\x85",
                                              "\xe2\x96",
                                              "\xff",
                                              "\xc3\xa9",
                                              "\xc3",
                                              "\xed\xa0\x80",
                                              "\xf0\x9f\x98\x80",
                                              "\xf0\x9f\x98",
                                              "\xc0\x80",
                                              "</s>",
                                              "<unk>",
                                              "<0x41>",
                                              "\xef\xbb\xbf",
                                              "\xe2\x80\xa8",
                                              "\xc2\xa0",
                                              "0123456789",
                                              "return value_1",
                                              "\r\n",
                                              " \xe2\x96\x81 "};
  std::string text;
  std::string const choices = random_bytes(60, seed);
  for (unsigned char const choice : choices) text += parts[choice % parts.size()];
  return text;
}

}  // namespace

TEST_CASE("tokenizer: decode(encode(x)) == x for every byte string") {
  auto const bytes = byte_tokenizer();
  for (Tokenizer const* tokenizer : {static_cast<Tokenizer const*>(bytes.get()), &trained()}) {
    INFO(tokenizer->kind());
    expect_lossless(*tokenizer, "");
    expect_lossless(*tokenizer, sample_text());
    expect_lossless(*tokenizer, any_byte());
    for (char const byte : any_byte()) {
      expect_lossless(*tokenizer, std::string(1, byte));
      expect_lossless(*tokenizer, std::string("a ") + byte + "b" + byte);
    }
    for (uint64_t seed = 0; seed < 200; ++seed) {
      expect_lossless(*tokenizer, random_bytes(seed, seed));
      expect_lossless(*tokenizer, mixture(seed));
    }
    expect_lossless(*tokenizer, std::string(300'000, ' ') + "x");
    expect_lossless(*tokenizer, std::string(300'000, '\n'));
    expect_lossless(*tokenizer, std::string(300'000, 'a') + mixture(1));
    expect_lossless(*tokenizer, random_bytes(100'000, 9));
  }
}

TEST_CASE("tokenizer: byte tokenizer has 257 ids, one a byte") {
  auto const tokenizer = byte_tokenizer();
  CHECK(tokenizer->vocab_size() == 257);
  CHECK(tokenizer->document_end() == 256);
  CHECK(tokenizer->piece(256).empty());
  CHECK(tokenizer->encode("A\xff") == std::vector<int32_t>{65, 255});
}

TEST_CASE("tokenizer: bpe has exactly the pieces asked for and its own document end") {
  CHECK(trained().vocab_size() == 400);
  CHECK(trained().kind() == "bpe");
  CHECK(trained().piece(trained().document_end()).empty());
  // It compresses, and a piece may hold spaces and newlines.
  std::string const text = sample_text();
  CHECK(trained().encode(text).size() * 3 < text.size() * 2);
  bool newline = false, space = false, indent = false;
  for (int32_t id = 0; id < 400; ++id) {
    newline |= trained().piece(id).size() > 1 && trained().piece(id).find('\n') != std::string::npos;
    space |= trained().piece(id).size() > 2 && trained().piece(id)[0] == ' ';
    indent |= trained().piece(id) == std::string(4, ' ');
  }
  CHECK(newline);
  CHECK(space);
  CHECK(indent);
}

TEST_CASE("tokenizer: bpe finds the ids sentencepiece itself finds, where that is lossless") {
  sentencepiece::SentencePieceProcessor processor;
  REQUIRE(processor.LoadFromSerializedProto(trained().serialized()).ok());
  auto const same = [&](std::string const& text) {
    std::vector<int> ids;
    REQUIRE(processor.Encode(text, &ids).ok());
    CHECK(trained().encode(text) == std::vector<int32_t>(ids.begin(), ids.end()));
  };
  same(sample_text());
  same(
      "unseen words, 12345 numbers; x\n\n\n  y\n z  \n   the-end_of it\xc3\xa9"
      "a \xc3\xa9 b\xe6\x97\xa5 1a2b");
  same("a" + std::string(70, ' ') + "longer" + std::string(100, 'x') + " than a cached word");
}

TEST_CASE("tokenizer: a model made elsewhere, whose pieces reach over words, keeps its ids") {
  struct Lines : sentencepiece::SentenceIterator {
    std::vector<std::string> lines;
    size_t next = 0;
    bool done() const override { return next == lines.size(); }
    void Next() override { ++next; }
    std::string const& value() const override { return lines[next]; }
    sentencepiece::util::Status status() const override { return {}; }
  } lines;
  for (int i = 0; i < 50; ++i) lines.lines.push_back("one two\nthree4x(five) one two\nthree4x");
  std::unordered_map<std::string, std::string> settings{{"model_type", "bpe"},
                                                        {"vocab_size", "300"},
                                                        {"byte_fallback", "true"},
                                                        {"normalization_rule_name", "identity"},
                                                        {"add_dummy_prefix", "false"},
                                                        {"remove_extra_whitespaces", "false"},
                                                        {"split_by_whitespace", "false"},
                                                        {"split_by_unicode_script", "false"},
                                                        {"split_by_number", "false"},
                                                        {"minloglevel", "2"}};
  std::string model;
  REQUIRE(sentencepiece::SentencePieceTrainer::Train(settings, &lines, &model).ok());
  auto const tokenizer = parse_tokenizer(model);
  sentencepiece::SentencePieceProcessor processor;
  REQUIRE(processor.LoadFromSerializedProto(model).ok());
  bool crosses = false;
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) crosses |= tokenizer->piece(id).find("e t") != std::string::npos;
  REQUIRE(crosses);
  for (std::string const& text : {lines.lines[0], std::string("five one two two\n\nthree4x( one two")}) {
    std::vector<int> ids;
    REQUIRE(processor.Encode(text, &ids).ok());
    CHECK(tokenizer->encode(text) == std::vector<int32_t>(ids.begin(), ids.end()));
  }
  expect_lossless(*tokenizer, mixture(8));

  // What sentencepiece does by default loses text: refused, with the settings that prevent it.
  auto const refused = [&](std::string const& setting, std::string const& value) {
    auto changed = settings;
    changed[setting] = value;
    if (setting == "byte_fallback") changed["vocab_size"] = "40";
    lines.next = 0;
    REQUIRE(sentencepiece::SentencePieceTrainer::Train(changed, &lines, &model).ok());
    CHECK_THROWS_WITH(parse_tokenizer(model), ContainsSubstring("train it with --" + setting + "="));
  };
  refused("add_dummy_prefix", "true");
  refused("byte_fallback", "false");
  refused("remove_extra_whitespaces", "true");
  refused("normalization_rule_name", "nmt_nfkc");
  settings["remove_extra_whitespaces"] = "true";
  settings["normalization_rule_name"] = "nmt_nfkc";
  lines.next = 0;
  REQUIRE(sentencepiece::SentencePieceTrainer::Train(settings, &lines, &model).ok());
  CHECK_THROWS_WITH(parse_tokenizer(model),
                    ContainsSubstring("train it with --remove_extra_whitespaces=false --normalization_rule_name=identity"));
}

TEST_CASE("tokenizer: bytes no character has go as byte pieces") {
  std::vector<int32_t> const ids = trained().encode("\xe2\x96\x81");
  REQUIRE(ids.size() == 3);
  CHECK(trained().piece(ids[0]) == "\xe2");
  CHECK(trained().encode(std::string(1, '\0')).size() == 1);
  CHECK(trained().encode("\xe2\x96\x81") != trained().encode(" "));
}

TEST_CASE("tokenizer: serialized forms come back with the same fingerprint and ids") {
  Scratch const scratch;
  auto const bytes = byte_tokenizer();
  for (Tokenizer const* tokenizer : {static_cast<Tokenizer const*>(bytes.get()), &trained()}) {
    write_file_atomic(scratch / "tokenizer.model", tokenizer->serialized());
    auto const loaded = load_tokenizer(scratch / "tokenizer.model");
    CHECK(loaded->kind() == tokenizer->kind());
    CHECK(loaded->fingerprint() == tokenizer->fingerprint());
    CHECK(loaded->fingerprint().size() == 16);
    CHECK(loaded->encode(mixture(3)) == tokenizer->encode(mixture(3)));
  }
  CHECK(bytes->fingerprint() != trained().fingerprint());
}

TEST_CASE("tokenizer: training is deterministic and refuses what cannot work") {
  CHECK(train_bpe({sample_text()}, 400)->serialized() == trained().serialized());
  CHECK(train_bpe({sample_text()}, 380)->vocab_size() == 380);
  CHECK_THROWS_WITH(train_bpe({sample_text()}, 200), ContainsSubstring("200") && ContainsSubstring("byte"));
  CHECK_THROWS_WITH(train_bpe({""}, 400), ContainsSubstring("no text"));
  CHECK_THROWS_WITH(train_bpe({"abc abd"}, 400), ContainsSubstring("400") && ContainsSubstring("smaller"));
  CHECK(train_bpe({mixture(1) + mixture(2) + sample_text() + random_bytes(5000, 1)}, 400)->vocab_size() == 400);
}

TEST_CASE("tokenizer: more different characters than the vocabulary has room for") {
  std::string text = sample_text();
  for (int i = 0; i < 3000; ++i) {  // three thousand CJK characters, once each, spread among common words
    unsigned const code = 0x4e00u + static_cast<unsigned>(i);
    text += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))};
    text += " the quick brown fox ";
  }
  auto const tokenizer = train_bpe({text}, 400);
  CHECK(tokenizer->vocab_size() == 400);
  expect_lossless(*tokenizer, text);
  CHECK(tokenizer->encode(" the quick brown fox").size() < 12);
}

TEST_CASE("tokenizer: unusable models are data errors") {
  Scratch const scratch;
  for (std::string const& content : {std::string(), std::string("garbage"), random_bytes(1000, 3), trained().serialized().substr(0, 500)}) {
    scratch.write("bad.model", content);
    try {
      load_tokenizer(scratch / "bad.model");
      FAIL("was loaded");
    } catch (Error const& error) {
      CHECK(error.code() == ExitCode::data);
      CHECK_THAT(error.what(), ContainsSubstring("bad.model"));
    }
  }
  CHECK_THROWS_AS(load_tokenizer(scratch / "absent.model"), Error);
}

TEST_CASE("tokenizer: a text's parts encode to the text's ids") {
  std::string text;
  while (text.size() < 900'000) text += mixture(text.size()) + sample_text();
  std::string const solid(600'000, 'x');
  for (std::string const& each : {text, solid, text + solid + text, std::string("short"), std::string()}) {
    std::string joined;
    std::vector<int32_t> ids;
    for (std::string_view const part : trained().split_for_encoding(each)) {
      REQUIRE(trained().split_for_encoding(part).size() == 1);
      joined += part;
      auto const more = trained().encode(part);
      ids.insert(ids.end(), more.begin(), more.end());
    }
    CHECK(joined == each);
    CHECK(ids == trained().encode(each));
  }
  // Parts end neither inside a run of spaces nor inside a run of newlines.
  for (char const blank : {' ', '\n'}) {
    for (size_t shift = 0; shift < 12; ++shift) {
      std::string runs(shift, 'y');
      while (runs.size() < 300'000) runs += "word" + std::string(8, blank);
      auto const parts = trained().split_for_encoding(runs);
      REQUIRE(parts.size() == 2);
      CHECK((parts[0].back() != blank || parts[1].front() != blank));
    }
  }
}

TEST_CASE("tokenizer: encoding time is linear in the length of one word") {
  auto const seconds = [&](size_t size) {
    std::string const word = [&] {
      std::string bytes = random_bytes(size, 5);
      for (char& byte : bytes) byte = static_cast<char>('a' + static_cast<unsigned char>(byte) % 26);
      return bytes;
    }();
    auto const begin = std::chrono::steady_clock::now();
    trained().encode(word);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  seconds(200'000);
  CHECK(seconds(2'000'000) < 40 * seconds(200'000) + 0.5);
}

TEST_CASE("tokenizer: threads share one tokenizer, and one thread several") {
  auto const other = train_bpe({"completely different text, hexadecimal 0xdeadbeef; " + sample_text().substr(0, 8000)}, 330);
  std::vector<std::string> texts;
  for (uint64_t seed = 0; seed < 50; ++seed) texts.push_back(mixture(seed) + sample_text().substr(seed * 100, 3000));
  std::vector<std::vector<int32_t>> expected, expected_other;
  for (auto const& text : texts) expected.push_back(trained().encode(text));
  for (auto const& text : texts) expected_other.push_back(other->encode(text));
  CHECK(expected != expected_other);
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < texts.size(); ++i) {
        wrong[t] += trained().encode(texts[i]) != expected[i];
        wrong[t] += other->encode(texts[i]) != expected_other[i];
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}

TEST_CASE("tokenizer: parallel encoding keeps order, groups and ids") {
  std::vector<std::string> documents;
  for (uint64_t seed = 0; seed < 400; ++seed) documents.push_back(mixture(seed));
  documents.insert(documents.begin() + 7, [] {
    std::string large;
    while (large.size() < 1'500'000) large += sample_text();
    return large;
  }());
  for (int const threads : {1, 3}) {
    size_t next = 0;
    ParallelEncoder encoder(trained(), threads, [&](int group, std::vector<int32_t>&& ids, int64_t bytes) {
      REQUIRE(next < documents.size());
      CHECK(group == static_cast<int>(next % 3));
      CHECK(bytes == static_cast<int64_t>(documents[next].size()));
      CHECK(ids == trained().encode(documents[next]));
      ++next;
    });
    for (size_t i = 0; i < documents.size(); ++i) encoder.submit(static_cast<int>(i % 3), documents[i]);
    encoder.finish();
    CHECK(next == documents.size());
  }
  ParallelEncoder abandoned(trained(), 2, [](int, std::vector<int32_t>&&, int64_t) {});
  for (auto const& document : documents) abandoned.submit(0, document);
}

TEST_CASE("tokenizer: what a tokenizer throws on its thread reaches the one who submits") {
  struct Failing : Tokenizer {
    std::string const nothing;
    std::vector<int32_t> encode(std::string_view) const override { throw Error(ExitCode::data, "cannot"); }
    std::string const& piece(int32_t) const override { return nothing; }
    int64_t vocab_size() const override { return 1; }
    int32_t document_end() const override { return 0; }
    std::string fingerprint() const override { return ""; }
    std::string kind() const override { return ""; }
    std::string serialized() const override { return ""; }
  } const failing;
  ParallelEncoder encoder(failing, 2, [](int, std::vector<int32_t>&&, int64_t) {});
  encoder.submit(0, "text");
  CHECK_THROWS_WITH(encoder.finish(), "cannot");
}

TEST_CASE("tokenizer: what a sink throws reaches the one who submits") {
  ParallelEncoder encoder(trained(), 2, [](int, std::vector<int32_t>&&, int64_t) { throw Error(ExitCode::disk, "full"); });
  encoder.submit(0, "text");
  CHECK_THROWS_WITH(encoder.finish(), "full");
}
