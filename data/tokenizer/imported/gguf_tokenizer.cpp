#include "data/tokenizer/imported/gguf_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/tokenizer/export.h"
#include "data/tokenizer/imported/import_settings.h"
#include "data/tokenizer/imported/preparation.h"
#include "data/tokenizer/json_parts.h"
#include "data/tokenizer/pieces.h"
#include "format/gguf.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse_gguf_tokenizer(std::string const& what) {
  throw Error(ExitCode::data, "unusable tokenizer in a GGUF file: " + what);
}

// The metadata below tokenizer.
class TokenizerMetadata {
 public:
  explicit TokenizerMetadata(GgufFile const& file) : file_(file) {}

  template <typename T>
  T get(std::string const& key, T otherwise) const {
    GgufValue const* const found = file_.find_metadata("tokenizer." + key);
    return found ? as<T>(key, *found) : otherwise;
  }
  template <typename T>
  std::vector<T> list(std::string const& key) const {
    GgufValue const* const found = file_.find_metadata("tokenizer." + key);
    if (!found) refuse_gguf_tokenizer("there is no tokenizer." + key);
    std::vector<T> values;
    for (GgufValue const& each : as<GgufArray>(key, *found).values) values.push_back(as<T>(key, each));
    return values;
  }

 private:
  template <typename T>
  static T as(std::string const& key, GgufValue const& value) {
    auto const* typed = std::get_if<T>(static_cast<GgufScalar const*>(&value));
    if (!typed) refuse_gguf_tokenizer("tokenizer." + key + " is of another type than expected");
    return *typed;
  }
  GgufFile const& file_;
};

std::string byte_level_json(TokenizerMetadata const& metadata, std::vector<std::string> const& tokens, std::vector<int32_t> const& types) {
  Preparation const preparation = preparation_called(metadata.get<std::string>("ggml.pre", "(none)"));
  Json vocab = Json::object(), added = Json::array();
  for (size_t id = 0; id < tokens.size(); ++id) {
    auto const type = static_cast<PieceType>(types[id]);
    if (type == PieceType::unused) continue;  // an id without a token: embeddings are often longer than vocabularies
    append(vocab, tokens[id], id);
    if (type == PieceType::control || type == PieceType::user_defined || type == PieceType::unknown)
      added.push_back(added_token(id, tokens[id], type != PieceType::user_defined));
  }
  Json json = {{"version", "1.0"},
               {"added_tokens", added},
               {"normalizer", preparation.nfc ? Json{{"type", "NFC"}} : Json()},
               {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", preparation.steps}}},
               {"post_processor", nullptr},
               {"decoder", preparation.steps.back()}};
  json["model"] = {{"type", "BPE"}, {"ignore_merges", preparation.ignore_merges}, {"byte_fallback", false}};
  json["model"]["vocab"] = std::move(vocab);
  json["model"]["merges"] = metadata.list<std::string>("ggml.merges");
  return json.dump() + "\n";
}

std::string sentencepiece_json(TokenizerMetadata const& metadata, std::vector<std::string> const& tokens,
                               std::vector<int32_t> const& types) {
  std::vector<float> const scores = metadata.list<float>("ggml.scores");
  if (scores.size() != tokens.size())
    refuse_gguf_tokenizer("there are " + std::to_string(tokens.size()) + " tokens and " + std::to_string(scores.size()) + " scores");
  PieceModel model;
  model.is_bpe = true;
  for (size_t id = 0; id < tokens.size(); ++id) model.pieces.push_back({tokens[id], scores[id], static_cast<PieceType>(types[id])});
  return tokenizer_json(model, metadata.get("ggml.add_space_prefix", true));
}

// Where tokenizer.ggml.add_bos_token is missing, as in llama.cpp.
bool puts_bos_unasked(TokenizerMetadata const& metadata) {
  std::string const pre = metadata.get<std::string>("ggml.pre", "");
  return metadata.get<std::string>("ggml.model", "") == "llama" || pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3";
}

// Adds a post-processor to a tokenizer.json, by which Hugging Face puts the token before every text.
std::string with_template(std::string const& tokenizer_json, std::string const& token, uint32_t id) {
  Json json = Json::parse(tokenizer_json);
  Json const start = {{"SpecialToken", {{"id", token}, {"type_id", 0}}}}, first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
             second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  json["post_processor"] = {{"type", "TemplateProcessing"}, {"single", {start, first}}, {"pair", {start, first, second}}};
  json["post_processor"]["special_tokens"][token] = {{"id", token}, {"ids", {id}}, {"tokens", {token}}};
  return json.dump() + "\n";
}

}  // namespace

std::string gguf_tokenizer(std::filesystem::path const& path) {
  GgufFile const file(path);
  TokenizerMetadata const metadata(file);
  auto const kind = metadata.get<std::string>("ggml.model", "");
  if (kind != "gpt2" && kind != "llama") refuse_gguf_tokenizer("tokenizer.ggml.model '" + kind + "' is not supported; gpt2 and llama are");
  auto const tokens = metadata.list<std::string>("ggml.tokens");
  auto const types = metadata.list<int32_t>("ggml.token_type");
  if (types.size() != tokens.size())
    refuse_gguf_tokenizer("there are " + std::to_string(tokens.size()) + " tokens and " + std::to_string(types.size()) + " types");
  auto const document_end = metadata.get<uint32_t>("ggml.eos_token_id", static_cast<uint32_t>(tokens.size()));
  if (document_end >= tokens.size()) refuse_gguf_tokenizer("tokenizer.ggml.eos_token_id is missing or no id");
  ImportSettings settings;
  settings.document_end_id = static_cast<int32_t>(document_end);
  auto const text_start = metadata.get<uint32_t>("ggml.bos_token_id", document_end);
  if (text_start >= tokens.size())
    refuse_gguf_tokenizer("tokenizer.ggml.bos_token_id is " + std::to_string(text_start) + ", and there are " +
                          std::to_string(tokens.size()) + " tokens");
  if (text_start != document_end) settings.text_start = tokens[text_start];
  settings.preparation = kind == "gpt2" ? metadata.get<std::string>("ggml.pre", "") : "";
  settings.split_special_tokens = metadata.get<bool>(split_special_key, false);
  if (kind == "gpt2" && std::find(types.begin(), types.end(), static_cast<int32_t>(PieceType::unused)) != types.end())
    settings.vocab_size = static_cast<int64_t>(tokens.size());
  settings.chat_template = metadata.get<std::string>("chat_template", "");
  try {
    std::string const json = kind == "gpt2" ? byte_level_json(metadata, tokens, types) : sentencepiece_json(metadata, tokens, types);
    bool const starts_texts = !settings.text_start.empty() && metadata.get("ggml.add_bos_token", puts_bos_unasked(metadata));
    return with_settings(starts_texts ? with_template(json, settings.text_start, text_start) : json, settings);
  } catch (Json::exception const& error) {  // a token that is no UTF-8
    refuse_gguf_tokenizer(error.what());
  }
}

}  // namespace isobath
