#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/error.h"
#include "core/files.h"
#include "data/tokenizer/bpe_tokenizer.h"
#include "data/tokenizer/export.h"
#include "data/tokenizer/imported/pattern.h"
#include "format/gguf.h"
#include "tests/fast/data/corner.h"
#include "tests/fast/data/tokenizer/imported_json.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

std::string refusal(TestJson const& json) {
  try {
    tokenizer_from(json);
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::data);
    return error.what();
  }
  return "";
}

std::string text_for_both(uint64_t seed) {  // without U+2581, which is a space for others
  static std::vector<std::string> const parts{"the", " cat", "   ", "\n", "\xc3\xa9", "</s>", "12", "<unk>", "<b>", "\xff", "\t", ", "};
  std::string text;
  for (unsigned char const choice : random_bytes(40, seed)) text += parts[choice % parts.size()];
  return text;
}

std::unique_ptr<Tokenizer> small_own() {
  std::string text;
  for (int i = 0; i < 200; ++i)
    text += "the cat sat on <b>a mat</b> of \xc3\xa9toffe; cats, mats, towers and old stones sing of rain " + std::to_string(i) + "\n";
  return train_bpe({text}, 310);
}

GgufMetadata byte_level_metadata(std::string const& pre) {
  TestJson const json = byte_level_json({{"1", "2"}, {"t", "h"}});
  std::vector<std::string> tokens(258);
  for (auto const& [token, id] : json["model"]["vocab"].items()) tokens[id.get<size_t>()] = token;
  tokens.insert(tokens.end(), {"<end>", "[user]"});
  std::vector<int32_t> types(260, 1);
  types[258] = 3;
  types[259] = 4;
  return {{"tokenizer.ggml.model", std::string("gpt2")},
          {"tokenizer.ggml.pre", pre},
          {"tokenizer.ggml.tokens", gguf_array(tokens)},
          {"tokenizer.ggml.token_type", gguf_array(types)},
          {"tokenizer.ggml.merges", gguf_array(std::vector<std::string>{"1 2", "t h"})},
          {"tokenizer.ggml.eos_token_id", uint32_t{258}},
          {"tokenizer.chat_template", std::string("{{ messages }}")}};
}

void set(GgufMetadata& metadata, std::string const& key, GgufValue const& value) {
  std::erase_if(metadata, [&](auto const& pair) { return pair.first == key; });
  metadata.emplace_back(key, value);
}

}  // namespace

TEST_CASE("imported tokenizer: what is not supported is refused by its name") {
  auto const with = [](TestJson json, std::string const& pointer, TestJson const& value) {
    json[TestJson::json_pointer(pointer)] = value;
    return refusal(json);
  };
  TestJson const bytes = byte_level_json({{"a", "b"}}), marked = marked_json();
  CHECK(refusal(bytes).empty());
  CHECK(refusal(marked).empty());
  CHECK_THAT(with(bytes, "/model/type", "Unigram"), ContainsSubstring("'Unigram'"));
  CHECK_THAT(with(bytes, "/model/type", "WordPiece"), ContainsSubstring("'WordPiece'"));
  CHECK_THAT(with(bytes, "/model/dropout", 0.1), ContainsSubstring("dropout"));
  CHECK_THAT(with(bytes, "/model/end_of_word_suffix", "</w>"), ContainsSubstring("'</w>'"));
  CHECK_THAT(with(bytes, "/model/merges/0", {"a", "c"}), ContainsSubstring("merge 0") && ContainsSubstring("'ac'"));
  CHECK_THAT(with(bytes, "/model/merges/0", "ab"), ContainsSubstring("merge 0"));
  CHECK_THAT(with(bytes, "/model/vocab/a", -1), ContainsSubstring("'a'") && ContainsSubstring("-1"));
  CHECK_THAT(with(bytes, "/model/unk_token", "<none>"), ContainsSubstring("<none>"));
  CHECK_THAT(with(bytes, "/normalizer", {{"type", "Lowercase"}}), ContainsSubstring("Lowercase"));
  CHECK_THAT(with(bytes, "/pre_tokenizer", {{"type", "Whitespace"}}), ContainsSubstring("Whitespace"));
  CHECK_THAT(with(bytes, "/pre_tokenizer", nullptr), ContainsSubstring("ByteLevel"));
  CHECK_THAT(with(bytes, "/decoder", {{"type", "WordPiece"}}), ContainsSubstring("WordPiece"));
  CHECK_THAT(with(bytes, "/added_tokens/0/single_word", true), ContainsSubstring("single_word") && ContainsSubstring("<end>"));
  CHECK_THAT(with(bytes, "/model/byte_fallback", true), ContainsSubstring("byte_fallback"));
  CHECK_THAT(with(marked, "/model/byte_fallback", false), ContainsSubstring("byte_fallback"));
  CHECK_THAT(with(marked, "/model/ignore_merges", true), ContainsSubstring("ignore_merges"));
  CHECK_THAT(with(marked, "/model/vocab/<0x41>", "x"), ContainsSubstring("<0x41>"));
  CHECK_THAT(with(marked, "/pre_tokenizer/replacement", "_"), ContainsSubstring("Metaspace"));
  TestJson lacking = marked;
  lacking["model"]["vocab"].erase("<0x41>");
  CHECK_THAT(refusal(lacking), ContainsSubstring("<0x41>"));
  lacking = marked;
  lacking["model"]["vocab"].erase("\xe2\x96\x81");
  CHECK_THAT(refusal(lacking), ContainsSubstring("U+2581"));
  lacking = bytes;
  lacking.erase("model");
  CHECK_THAT(refusal(lacking), ContainsSubstring("model"));
  TestJson removed = bytes;
  removed["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers", {{{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Removed"}}, bytes["pre_tokenizer"]}}};
  CHECK_THAT(refusal(removed), ContainsSubstring("Removed"));
  ImportSettings settings;
  settings.document_end = "<gone>";
  CHECK_THROWS_WITH(tokenizer_from(bytes, settings), ContainsSubstring("<gone>"));
  settings.document_end.clear();
  settings.document_end_id = 501;
  CHECK_THROWS_WITH(tokenizer_from(bytes, settings), ContainsSubstring("501"));
  settings.vocab_size = 510;
  CHECK(tokenizer_from(bytes, settings)->vocab_size() == 510);
}

TEST_CASE("imported tokenizer: patterns mean what Oniguruma reads") {
  auto const found = [](std::string const& pattern, std::string const& text) {
    size_t begin = 0, end = 0;
    return Pattern(pattern).find(text, 0, begin, end) ? text.substr(begin, end - begin) : "(none)";
  };
  CHECK(found("\\s+", "a \xe1\xa0\x8e") == " ");  // U+180E is no white space
  CHECK(found("[^\\s\\p{L}]+", "a\xe1\xa0\x8e ") == "\xe1\xa0\x8e");
  CHECK(found("\\S+", " \xc2\x85 b") == "b");
  CHECK(found("(?i:'s)", "'\xc5\xbf") == "'\xc5\xbf");  // U+017F, a long s
  CHECK(found("\\p{Lu}", "a\xc3\x89") == "\xc3\x89");
  CHECK(found("x(?!y)", "xyx") == "x");
  for (std::string const wrong : {"^a", "a$", ".", "\\w+", "\\b", "\\h", "\\p{Han}", "\\p{^L}", "[a[b]]", "[a&&b]", "[]a]", "(?x: a)",
                                  "a{,2}", "a{1}+", "[a", "(a", "a*"}) {
    INFO(wrong);
    CHECK_THROWS_WITH(Pattern(wrong), ContainsSubstring(wrong) && ContainsSubstring("not supported"));
  }
}

TEST_CASE("imported tokenizer: files beside tokenizer.json say which token ends a document") {
  Scratch const scratch;
  std::string const json = byte_level_json().dump(1);
  fs::path const file = scratch.write("model/tokenizer.json", json);
  CHECK_THROWS_WITH(load_tokenizer(file), ContainsSubstring(file.string()) && ContainsSubstring("tokenizer_config.json"));
  scratch.write("model/config.json", R"({"eos_token_id": 7})");
  CHECK(load_tokenizer(file)->document_end() == 7);
  scratch.write("model/generation_config.json", R"({"eos_token_id": [500, 7]})");
  CHECK(load_tokenizer(scratch / "model")->document_end() == 500);
  scratch.write(
      "model/tokenizer_config.json",
      R"({"eos_token": {"content": "a"}, "split_special_tokens": true, "chat_template": [{"name": "default", "template": "{{ x }}"}]})");
  auto const tokenizer = load_tokenizer(scratch / "model");
  CHECK(tokenizer->document_end() == 'a');
  CHECK(tokenizer->encode("<end>").size() == 5);
  CHECK(without_settings(tokenizer->serialized()).second.chat_template == "{{ x }}");
  CHECK(TestJson::parse(without_settings(tokenizer->serialized()).first) == TestJson::parse(json));
  // A checkpoint holds all of it in one file, and an export gives it back.
  auto const again = load_tokenizer(scratch.write("checkpoint/tokenizer.model", tokenizer->serialized()));
  CHECK(again->fingerprint() == tokenizer->fingerprint());
  CHECK(again->document_end() == 'a');
  CHECK(TestJson::parse(tokenizer_json(*again)) == TestJson::parse(json));
  TestJson const config = TestJson::parse(tokenizer_config_json(*again, 64));
  CHECK(config["eos_token"] == "a");
  CHECK(config["split_special_tokens"] == true);
  CHECK(config["chat_template"] == "{{ x }}");
  scratch.write("model/chat_template.jinja", "{{ y }}");
  CHECK(without_settings(read_tokenizer(file)).second.chat_template == "{{ y }}");
  scratch.write("model/tokenizer_config.json", "[]");
  CHECK_THROWS_WITH(load_tokenizer(file), ContainsSubstring("tokenizer_config.json"));
  CHECK_THROWS_WITH(load_tokenizer(scratch.path()), ContainsSubstring("tokenizer.json"));
  scratch.write("bad/tokenizer.model", "{\"isobath\":{\"document_end\":1}");
  CHECK_THROWS_AS(load_tokenizer(scratch / "bad"), Error);
}

TEST_CASE("imported tokenizer: of a GGUF file") {
  Scratch const scratch;
  fs::path const file = scratch / "model.gguf";
  auto const load = [&](GgufMetadata const& metadata) {
    write_gguf(file, {}, metadata);
    return load_tokenizer(file);
  };
  auto const gpt2 = load(byte_level_metadata("gpt-2")), smollm = load(byte_level_metadata("smollm"));
  CHECK(gpt2->encode("12 th<end>[user]") == Ids{256, ' ', 257, 258, 259});
  CHECK(smollm->encode("12 th") == Ids{'1', '2', ' ', 257});
  CHECK(smollm->document_end() == 258);
  CHECK(without_settings(smollm->serialized()).second.chat_template == "{{ messages }}");
  CHECK(load(byte_level_metadata("llama-bpe"))->encode("(th") == Ids{'(', 257});
  CHECK(load(byte_level_metadata("qwen2"))->encode("e\xcc\x81") == Ids{0xC3, 0xA9});
  auto const refused = [&](std::string const& key, GgufValue const& value, std::string const& why) {
    GgufMetadata metadata = byte_level_metadata("gpt-2");
    set(metadata, key, value);
    CHECK_THROWS_WITH(load(metadata), ContainsSubstring(why) && ContainsSubstring(file.string()));
  };
  refused("tokenizer.ggml.pre", std::string("tekken"), "'tekken'");
  refused("tokenizer.ggml.model", std::string("t5"), "'t5'");
  refused("tokenizer.ggml.eos_token_id", uint32_t{260}, "eos_token_id");
  refused("tokenizer.ggml.eos_token_id", std::string("x"), "eos_token_id");
  refused("tokenizer.ggml.token_type", gguf_array(std::vector<int32_t>{1}), "260 tokens and 1 types");
  refused("tokenizer.ggml.merges", gguf_array(std::vector<std::string>{"1 9"}), "'19'");
}

TEST_CASE("imported tokenizer: Isobath's own exports read back to the same ids") {
  Scratch const scratch;
  auto const own = small_own(), bytes = byte_tokenizer();
  for (Tokenizer const* tokenizer : {own.get(), bytes.get()}) {
    fs::path const folder = scratch / tokenizer->kind();
    fs::create_directories(folder);
    write_file_atomic(folder / "tokenizer.json", tokenizer_json(*tokenizer));
    write_file_atomic(folder / "tokenizer_config.json", tokenizer_config_json(*tokenizer, 64));
    auto const read = load_tokenizer(folder);
    CHECK(read->vocab_size() == tokenizer->vocab_size());
    CHECK(read->document_end() == tokenizer->document_end());
    for (uint64_t seed = 0; seed < 100; ++seed) {
      REQUIRE(read->encode(text_for_both(seed)) == tokenizer->encode(text_for_both(seed)));
      REQUIRE(read->encode(random_bytes(seed, seed)) == tokenizer->encode(random_bytes(seed, seed)));
    }
    for (int32_t id = 0; id < own->vocab_size() && tokenizer == own.get(); ++id)
      if (id > 1) CHECK(read->piece(id) == own->piece(id));
  }
  // From a GGUF. There special tokens in a text are recognised, so the texts have none.
  auto const metadata_of = [](Tokenizer const& tokenizer) {
    LlamaVocabulary const vocabulary = llama_vocabulary(tokenizer);
    return GgufMetadata{{"tokenizer.ggml.model", std::string("llama")},
                        {"tokenizer.ggml.tokens", gguf_array(vocabulary.tokens)},
                        {"tokenizer.ggml.scores", gguf_array(vocabulary.scores)},
                        {"tokenizer.ggml.token_type", gguf_array(vocabulary.types)},
                        {"tokenizer.ggml.eos_token_id", static_cast<uint32_t>(tokenizer.document_end())},
                        {"tokenizer.ggml.add_space_prefix", false}};
  };
  for (Tokenizer const* tokenizer : {own.get(), bytes.get()}) {
    write_gguf(scratch / "own.gguf", {}, metadata_of(*tokenizer));
    auto const read = load_tokenizer(scratch / "own.gguf");
    CHECK(read->document_end() == tokenizer->document_end());
    for (uint64_t seed = 0; seed < 100; ++seed) {
      std::string text = text_for_both(seed);
      for (std::string const special : {"</s>", "<unk>"})
        for (size_t at = 0; (at = text.find(special)) != std::string::npos;) text.erase(at, special.size());
      REQUIRE(read->encode(text) == tokenizer->encode(text));
    }
  }
  GgufMetadata metadata = metadata_of(*own);
  metadata.pop_back();  // llama.cpp puts a space before a text by default
  write_gguf(scratch / "own.gguf", {}, metadata);
  CHECK(load_tokenizer(scratch / "own.gguf")->encode("cat") == own->encode(" cat"));
}

TEST_CASE("imported tokenizer: text is prepared with it") {
  test::Corner corner;
  corner.scratch.write("hf/tokenizer.json", byte_level_json({{"t", "h"}}).dump());
  corner.scratch.write("hf/tokenizer_config.json", R"({"eos_token": "<end>"})");
  corner.tokenizer.kind = (corner.scratch / "hf").string();
  PreparedData const first = corner.prepare();
  CHECK(first.tokenizer->kind() == "hf-bpe");
  CHECK(first.tokenizer->document_end() == 500);
  CHECK_FALSE(first.from_cache);
  CHECK(corner.prepare().from_cache);
  corner.scratch.write("hf/tokenizer_config.json", R"({"eos_token": "!"})");  // another document end is another tokenizer
  CHECK_FALSE(corner.prepare().from_cache);
}

TEST_CASE("imported tokenizer: values that nest without an end are refused") {
  std::string const deep = std::string(200'000, '[') + std::string(200'000, ']');
  ImportSettings settings;
  settings.document_end = "<end>";
  CHECK_THROWS_AS(parse_tokenizer(with_settings(R"({"model": {"type": "BPE", "vocab": {"a": 1}, "merges": [)" + deep + "]}}", settings)),
                  Error);
  CHECK_THROWS_AS(parse_tokenizer(R"({"isobath":{"document_end":)" + deep + R"(},"model":{}})"), Error);
  Scratch const scratch;
  scratch.write("tokenizer.json", byte_level_json().dump());
  scratch.write("tokenizer_config.json", R"({"chat_template":)" + deep + "}");
  CHECK_THROWS_AS(load_tokenizer(scratch.path()), Error);
}
