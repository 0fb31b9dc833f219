// The token that a text begins with, and more rows of an embedding than ids.

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/error.h"
#include "data/encoded_text.h"
#include "data/tokenizer/export.h"
#include "format/gguf.h"
#include "tests/fast/data/tokenizer/imported_json.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

// byte_level_json with "<s>" as 501. put_before: its post-processor puts that before a text.
TestJson json_with_start(bool put_before) {
  TestJson json = byte_level_json();
  json["added_tokens"].push_back(test_added(501, "<s>"));
  if (!put_before) return json;
  TestJson const start = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  json["post_processor"] = {{"type", "Sequence"},
                            {"processors", {{{"type", "ByteLevel"}}, {{"type", "TemplateProcessing"}, {"single", {start, text}}}}}};
  return json;
}

std::unique_ptr<Tokenizer> start_beside(Scratch const& scratch, bool put_before, std::string const& config) {
  scratch.write("model/tokenizer.json", json_with_start(put_before).dump());
  scratch.write("model/tokenizer_config.json", config);
  return load_tokenizer(scratch / "model");
}

GgufMetadata metadata_with_start(std::string const& pre) {
  std::vector<std::string> tokens;
  for (size_t byte = 0; byte < 256; ++byte) tokens.push_back(byte_level_names()[byte]);
  tokens.insert(tokens.end(), {"<end>", "<s>"});
  std::vector<int32_t> types(258, 1);
  types[256] = types[257] = 3;
  return {{"tokenizer.ggml.model", std::string("gpt2")},
          {"tokenizer.ggml.pre", pre},
          {"tokenizer.ggml.tokens", gguf_array(tokens)},
          {"tokenizer.ggml.token_type", gguf_array(types)},
          {"tokenizer.ggml.merges", gguf_array(std::vector<std::string>{})},
          {"tokenizer.ggml.eos_token_id", uint32_t{256}},
          {"tokenizer.ggml.bos_token_id", uint32_t{257}}};
}

}  // namespace

TEST_CASE("text start: without a bos it is the document end, and nothing is put before a text") {
  auto const bytes = byte_tokenizer();
  CHECK(bytes->text_start() == bytes->document_end());
  CHECK(with_text_start(*bytes, {1, 2}) == Ids{1, 2});
  Scratch const scratch;
  auto const none = start_beside(scratch, false, R"({"eos_token": "<end>", "bos_token": null})");
  CHECK((none->text_start() == 500 && !none->starts_texts()));
  CHECK(TestJson::parse(tokenizer_config_json(*none, 8))["bos_token"].is_null());
}

TEST_CASE("text start: the bos that the files name, put before a text where the post-processor does") {
  Scratch const scratch;
  auto const bare = start_beside(scratch, false, R"({"eos_token": "<end>"})");
  auto const named = start_beside(scratch, false, R"({"eos_token": "<end>", "bos_token": {"content": "<s>"}, "add_bos_token": true})");
  CHECK((named->text_start() == 501 && !named->starts_texts()));  // transformers does not go by add_bos_token
  CHECK(with_text_start(*named, named->encode("ab")) == Ids{'a', 'b'});
  CHECK(named->fingerprint() == bare->fingerprint());  // the same ids of the same text
  auto const put = start_beside(scratch, true, R"({"eos_token": "<end>", "bos_token": "<s>"})");
  auto const again = parse_tokenizer(put->serialized());
  for (auto const* tokenizer : {put.get(), again.get()}) {
    CHECK((tokenizer->text_start() == 501 && tokenizer->starts_texts()));
    CHECK(tokenizer->encode("ab") == Ids{'a', 'b'});
    CHECK(with_text_start(*tokenizer, tokenizer->encode("ab")) == Ids{501, 'a', 'b'});
    CHECK(with_text_start(*tokenizer, tokenizer->encode("<s>ab")) == Ids{501, 'a', 'b'});
    CHECK(with_text_start(*tokenizer, {}) == Ids{501});
    TestJson const config = TestJson::parse(tokenizer_config_json(*tokenizer, 8));
    CHECK((config["bos_token"] == "<s>" && config["eos_token"] == "<end>" && config["add_bos_token"] == true));
    CHECK(TestJson::parse(tokenizer_json(*tokenizer)) == json_with_start(true));
  }
  auto const unnamed = start_beside(scratch, true, R"({"eos_token": "<end>"})");
  CHECK((unnamed->text_start() == 501 && unnamed->starts_texts()));

  EncodedText const text({scratch.write("text.txt", "ab").string()}, DataConfig{}, *put);
  std::vector<int64_t> ids(4);
  text.stream().copy(0, ids);
  CHECK(ids == std::vector<int64_t>{501, 'a', 'b', 500});
}

TEST_CASE("text start: of a GGUF file, put before a text unless the file says otherwise") {
  Scratch const scratch;
  auto const load = [&](GgufMetadata const& metadata) {
    write_gguf(scratch / "model.gguf", {}, metadata);
    return load_tokenizer(scratch / "model.gguf");
  };
  auto const with = [&](std::string const& pre, bool add) {
    GgufMetadata metadata = metadata_with_start(pre);
    metadata.emplace_back("tokenizer.ggml.add_bos_token", add);
    return load(metadata);
  };
  auto const gpt2 = load(metadata_with_start("gpt-2")), llama3 = load(metadata_with_start("llama-bpe"));
  CHECK((gpt2->text_start() == 257 && !gpt2->starts_texts()));
  CHECK((llama3->text_start() == 257 && llama3->starts_texts()));
  CHECK(with("gpt-2", true)->starts_texts());
  CHECK_FALSE(with("llama-bpe", false)->starts_texts());
  CHECK(TestJson::parse(tokenizer_json(*llama3))["post_processor"]["single"][0]["SpecialToken"]["id"] == "<s>");
}

TEST_CASE("imported tokenizer: as many ids as the model beside it has rows, where those are more") {
  Scratch const scratch;
  scratch.write("model/config.json", R"({"vocab_size": 502})");
  auto const equal = start_beside(scratch, false, R"({"eos_token": "<end>"})");
  CHECK(equal->vocab_size() == 502);
  scratch.write("model/config.json", R"({"vocab_size": 512})");
  auto const more = load_tokenizer(scratch / "model");
  CHECK(more->vocab_size() == 512);
  CHECK(more->piece(511).empty());
  scratch.write("model/config.json", R"({"vocab_size": 100})");
  CHECK(load_tokenizer(scratch / "model")->serialized() == equal->serialized());
  scratch.write("model/config.json", R"({"vocab_size": 1000000000000})");
  CHECK_THROWS_WITH(load_tokenizer(scratch / "model"), ContainsSubstring("vocab_size is 1000000000000"));
}
