#include <sentencepiece_trainer.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "data/tokenizer/bpe_tokenizer.h"
#include "data/tokenizer/export.h"
#include "data/tokenizer/pieces.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;

namespace {

std::unique_ptr<Tokenizer> small_bpe() {
  std::string text;
  for (int i = 0; i < 200; ++i)
    text += "the cat sat on <b>a mat</b> of \xc3\xa9toffe; cats, mats, towers and old stones sing of rain " + std::to_string(i) + "\n";
  return train_bpe({text}, 310);
}

// An own sentencepiece model that loses nothing, with other settings than train_bpe's.
std::string own_model(Scratch const& scratch, std::map<std::string, std::string> const& more) {
  std::string lines;
  for (int i = 0; i < 200; ++i)
    lines += "cats> sat </b> on mats> </u> of birds> </i> that sing of rain and towers> </b> " + std::to_string(i) + "\n";
  std::unordered_map<std::string, std::string> settings{
      {"model_type", "bpe"},         {"vocab_size", "310"},
      {"byte_fallback", "true"},     {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"}, {"remove_extra_whitespaces", "false"},
      {"minloglevel", "2"},          {"input", scratch.write("lines.txt", lines).string()}};
  for (auto const& [key, value] : more) settings[key] = value;
  std::string model;
  auto const status = sentencepiece::SentencePieceTrainer::Train(settings, nullptr, &model);
  INFO(status.ToString());
  REQUIRE(status.ok());
  return model;
}

}  // namespace

TEST_CASE("tokenizer export: pieces of the model are those of the tokenizer") {
  auto const tokenizer = small_bpe();
  PieceModel const model = read_pieces(tokenizer->serialized());
  CHECK(model.is_bpe);
  REQUIRE(model.pieces.size() == 310);
  CHECK(model.pieces[0].type == PieceType::unknown);
  CHECK(model.pieces[1].type == PieceType::control);
  CHECK(model.pieces[2].text == "<0x00>");
  CHECK(model.pieces[2].type == PieceType::byte);
  CHECK(model.pieces[309].type == PieceType::normal);
  for (size_t id = 258; id + 1 < 310; ++id) CHECK(model.pieces[id].score > model.pieces[id + 1].score);
  std::string const whole = tokenizer->serialized();
  CHECK_THROWS_AS(read_pieces(whole.substr(0, whole.size() - 1)), Error);
}

TEST_CASE("tokenizer export: tokenizer.json of a trained BPE") {
  auto const tokenizer = small_bpe();
  json const all = json::parse(tokenizer_json(*tokenizer)), model = all["model"];
  CHECK(model["type"] == "BPE");
  CHECK(model["byte_fallback"] == true);
  CHECK(model["unk_token"] == "<unk>");
  REQUIRE(model["vocab"].size() == 310);
  std::set<int> ids;
  for (auto const& [piece, id] : model["vocab"].items()) ids.insert(id.get<int>());
  CHECK(ids.size() == 310);
  CHECK(*ids.rbegin() == 309);
  REQUIRE(all["added_tokens"].size() == 2);
  CHECK(all["added_tokens"][1]["content"] == "</s>");
  CHECK(all["normalizer"].is_null());
  CHECK(all["pre_tokenizer"]["prepend_scheme"] == "never");
  // Every merge makes a piece of two pieces, the pieces with higher scores first.
  PieceModel const pieces = read_pieces(tokenizer->serialized());
  float last = 0;
  std::set<std::string> made;
  for (auto const& merge : model["merges"]) {
    std::string const left = merge[0], right = merge[1];
    REQUIRE(model["vocab"].contains(left + right));
    auto const& piece = pieces.pieces[model["vocab"][left + right].get<size_t>()];
    CHECK(piece.score <= last);
    last = piece.score;
    made.insert(left + right);
  }
  auto const is_longer = [](Piece const& piece) {
    auto const is_start = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
    return piece.type == PieceType::normal && std::count_if(piece.text.begin(), piece.text.end(), is_start) > 1;
  };
  CHECK(static_cast<size_t>(std::count_if(pieces.pieces.begin(), pieces.pieces.end(), is_longer)) == made.size());
  json const config = json::parse(tokenizer_config_json(*tokenizer, 128));
  CHECK(config["eos_token"] == "</s>");
  CHECK(config["bos_token"].is_null());
  CHECK(config["split_special_tokens"] == true);
  CHECK(config["model_max_length"] == 128);
  CHECK(config["model_input_names"] == json{"input_ids", "attention_mask"});  // transformers 4 refuses to generate with a third
}

TEST_CASE("tokenizer export: bytes") {
  auto const tokenizer = byte_tokenizer();
  json const all = json::parse(tokenizer_json(*tokenizer));
  REQUIRE(all["model"]["vocab"].size() == 257);
  CHECK(all["model"]["vocab"]["A"] == 'A');
  CHECK(all["model"]["vocab"]["\xc4\xa0"] == ' ');  // U+0120
  CHECK(all["model"]["vocab"]["\xc4\x8a"] == '\n');
  CHECK(all["model"]["vocab"]["\xc3\xbf"] == 255);
  CHECK(all["model"]["vocab"]["</s>"] == 256);
  CHECK(all["model"]["merges"].empty());
  CHECK(all["pre_tokenizer"]["use_regex"] == false);
  CHECK(json::parse(tokenizer_config_json(*tokenizer, 8))["unk_token"].is_null());

  LlamaVocabulary const vocabulary = llama_vocabulary(*tokenizer);
  REQUIRE(vocabulary.tokens.size() == 257);
  CHECK(vocabulary.tokens[65] == "<0x41>");
  CHECK(vocabulary.types[65] == 6);
  CHECK(vocabulary.tokens[' '] == "\xe2\x96\x81");
  CHECK(vocabulary.types[' '] == 1);
  CHECK(vocabulary.types[256] == 3);
  CHECK(vocabulary.unknown == -1);
}

TEST_CASE("tokenizer export: llama.cpp never merges text into a control piece") {
  Scratch const scratch;
  LlamaVocabulary const plain = llama_vocabulary(*small_bpe());
  CHECK(plain.unknown == 0);
  CHECK(plain.tokens[1] == "</s>");
  auto const tokenizer = parse_tokenizer(own_model(scratch, {{"split_by_unicode_script", "false"}, {"vocab_size", "330"}}));
  json const vocab = json::parse(tokenizer_json(*tokenizer))["model"]["vocab"];
  // "</" and "s>" are pieces, so that llama.cpp would merge the text "</s>" into the document end.
  LlamaVocabulary const own = llama_vocabulary(*tokenizer);
  REQUIRE((vocab.contains("</") && vocab.contains("s>")));
  CHECK(own.tokens[vocab["</s>"].get<size_t>()] == "</s> ");
}

TEST_CASE("tokenizer export: own models that others would read otherwise are refused with the reason") {
  Scratch const scratch;
  auto const both = [](Tokenizer const& tokenizer, std::string const& why) {
    CHECK_THROWS_WITH(tokenizer_json(tokenizer), ContainsSubstring(why) && ContainsSubstring("Hugging Face"));
    CHECK_THROWS_WITH(llama_vocabulary(tokenizer), ContainsSubstring(why) && ContainsSubstring("llama.cpp"));
  };
  both(*parse_tokenizer(own_model(scratch, {{"model_type", "unigram"}})), "unigram");
  both(*parse_tokenizer(own_model(scratch, {{"user_defined_symbols", "cat"}})), "'cat'");
}
