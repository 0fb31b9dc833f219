#include "trainer/export/llama_cpp_tokenizer.h"

#include <catch2/catch_test_macros.hpp>

#include "data/tokenizer/bpe_tokenizer.h"
#include "data/tokenizer/imported/import_settings.h"
#include "tests/fast/data/tokenizer/imported_json.h"
#include "tests/fast/scratch.h"

using namespace isobath;

namespace {

std::unique_ptr<Tokenizer> written_and_read(Tokenizer const& tokenizer, Scratch const& scratch) {
  write_gguf(scratch / "tokenizer.gguf", {}, gguf_tokenizer_of(tokenizer).metadata);
  return load_tokenizer(scratch / "tokenizer.gguf");
}

std::string some_text(uint64_t seed) {
  static std::vector<std::string> const parts{"the", " cat", "   ", "\n", "\xc3\xa9", "</s>", "12", "<end>", "[user]", "\xff", "\t", "th"};
  std::string text;
  for (unsigned char const choice : random_bytes(40, seed)) text += parts[choice % parts.size()];
  return text;
}

void check_same_ids(Tokenizer const& one, Tokenizer const& other) {
  CHECK(one.vocab_size() == other.vocab_size());
  CHECK(one.document_end() == other.document_end());
  for (uint64_t seed = 0; seed < 100; ++seed) REQUIRE(one.encode(some_text(seed)) == other.encode(some_text(seed)));
}

}  // namespace

TEST_CASE("tokenizer in a GGUF file: a pretrained model's is read back with the same ids") {
  Scratch const scratch;
  TestJson json = byte_level_json({{"t", "h"}, {"th", "e"}, {"1", "2"}});
  json["added_tokens"].push_back(test_added(501, "[user]", {{"special", false}}));
  for (bool const split : {false, true}) {
    ImportSettings settings;
    settings.split_special_tokens = split;
    settings.vocab_size = 512;
    settings.text_start = "[user]";
    settings.preparation = "phi-2";
    settings.chat_template = "{{ x }}";
    auto const tokenizer = tokenizer_from(json, settings);
    auto const read = written_and_read(*tokenizer, scratch);
    check_same_ids(*tokenizer, *read);
    ImportSettings const found = without_settings(read->serialized()).second;
    CHECK(found.preparation == "phi-2");
    CHECK(found.text_start == "[user]");
    CHECK(found.chat_template == "{{ x }}");
    CHECK(found.split_special_tokens == split);
    // Written again it is the same file, whose fingerprint does not depend on what an export alone reads.
    CHECK(gguf_tokenizer_of(*read).metadata == gguf_tokenizer_of(*tokenizer).metadata);
    CHECK(read->fingerprint() == written_and_read(*read, scratch)->fingerprint());
  }
  ImportSettings named, plain;
  named.text_start = "[user]";
  named.preparation = "phi-2";
  CHECK(tokenizer_from(json, named)->fingerprint() == tokenizer_from(json, plain)->fingerprint());
  CHECK(tokenizer_from(json, named)->serialized() != tokenizer_from(json, plain)->serialized());
}

TEST_CASE("tokenizer in a GGUF file: one that was trained here is read back, special tokens as text") {
  Scratch const scratch;
  std::string text;
  for (int i = 0; i < 200; ++i) text += "the cat sat on <b>a mat</b> of \xc3\xa9toffe; cats, mats and rain " + std::to_string(i) + "\n";
  auto const own = train_bpe({text}, 300), bytes = byte_tokenizer();
  for (Tokenizer const* tokenizer : {own.get(), bytes.get()}) check_same_ids(*tokenizer, *written_and_read(*tokenizer, scratch));
}
