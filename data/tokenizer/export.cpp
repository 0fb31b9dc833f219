#include "data/tokenizer/export.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_map>

#include "core/error.h"
#include "core/utf8.h"
#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/imported/import_settings.h"
#include "data/tokenizer/json_parts.h"
#include "data/tokenizer/pieces.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

constexpr char const* space_piece = "\xe2\x96\x81";  // U+2581
constexpr char const* byte_document_end = "</s>";    // the byte tokenizer's own has no name

[[noreturn]] void refuse_export(std::string const& program, std::string const& why) {
  throw Error(ExitCode::config, "this tokenizer would give other ids in " + program + ": " + why);
}

std::string byte_piece(int byte) {
  char text[8];
  std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
  return text;
}

// The byte tokenizer's pieces are the bytes and the document end.
PieceModel pieces_of(Tokenizer const& tokenizer) {
  if (tokenizer.kind() != "byte") return read_pieces(tokenizer.serialized());
  PieceModel model;
  model.is_bpe = true;
  for (int byte = 0; byte < 256; ++byte) model.pieces.push_back({byte_piece(byte), 0, PieceType::byte});
  model.pieces.push_back({byte_document_end, 0, PieceType::control});
  return model;
}

void check_kinds(PieceModel const& model, std::string const& program) {
  if (!model.is_bpe) {
    refuse_export(
        program,
        "it is a unigram model, whose sums of scores are rounded differently there, so that equally good ways to cut a text are told "
        "apart differently; a BPE model can be exported (spm_train --model_type=bpe)");
  }
  for (Piece const& piece : model.pieces) {
    if (piece.type == PieceType::user_defined || piece.type == PieceType::unused)
      refuse_export(program, "its piece '" + piece.text +
                                 "' is user-defined or unused, and only learned, byte, control and unknown pieces can be exported");
  }
}

using Ids = std::unordered_map<std::string_view, int64_t>;

Ids normal_ids(PieceModel const& model) {
  Ids ids;
  for (size_t id = 0; id < model.pieces.size(); ++id)
    if (model.pieces[id].type == PieceType::normal) ids[model.pieces[id].text] = static_cast<int64_t>(id);
  return ids;
}

// Calls use(left, right) for every way to cut a text in two between characters.
template <typename Use>
void for_cuts(std::string_view text, Use const& use) {
  for (size_t cut = utf8_length(text); cut > 0 && cut < text.size(); cut += std::max<size_t>(1, utf8_length(text.substr(cut))))
    use(text.substr(0, cut), text.substr(cut));
}

// sentencepiece merges the neighbours that make the piece of the highest score; Hugging Face merges by a list. So the list has every pair
// of pieces that make a piece, the highest score first.
Json merges_of(PieceModel const& model) {
  Ids const ids = normal_ids(model);
  std::vector<std::tuple<float, int64_t, int64_t>> merges;  // (-score, left, right)
  for (Piece const& piece : model.pieces) {
    if (piece.type != PieceType::normal) continue;
    for (size_t i = 0, length = 0; i < piece.text.size(); i += length) {
      length = std::max<size_t>(1, utf8_length(std::string_view(piece.text).substr(i)));
      std::string const character = piece.text.substr(i, length);
      if (!ids.contains(character))
        refuse_export("Hugging Face", "the character '" + character + "' of its piece '" + piece.text + "' is no piece itself");
    }
    for_cuts(piece.text, [&](std::string_view left, std::string_view right) {
      auto const l = ids.find(left), r = ids.find(right);
      if (l != ids.end() && r != ids.end()) merges.emplace_back(-piece.score, l->second, r->second);
    });
  }
  std::sort(merges.begin(), merges.end());
  Json list = Json::array();
  for (auto const& [minus_score, left, right] : merges)
    list.push_back({model.pieces[static_cast<size_t>(left)].text, model.pieces[static_cast<size_t>(right)].text});
  return list;
}

Json unknown_name(PieceModel const& model) {
  for (Piece const& piece : model.pieces)
    if (piece.type == PieceType::unknown) return piece.text;
  return nullptr;
}

std::string const& name_of(PieceModel const& model, int32_t id) { return model.pieces.at(static_cast<size_t>(id)).text; }

Json byte_form() {
  Json const bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  return {{"normalizer", nullptr}, {"pre_tokenizer", bytes}, {"post_processor", nullptr}, {"decoder", bytes}};
}

// U+2581 stands for a space. `space_before`: a space is put before a text, and taken off again.
Json marked_form(bool space_before) {
  Json const to_mark = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", space_piece}};
  Json const prepend = {{"type", "Prepend"}, {"prepend", space_piece}};
  Json const metaspace = {{"type", "Metaspace"}, {"replacement", space_piece}, {"prepend_scheme", "never"}, {"split", false}};
  Json decoders = {
      {{"type", "Replace"}, {"pattern", {{"String", space_piece}}}, {"content", " "}}, {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (space_before) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  Json form;
  form["normalizer"] = space_before ? Json{{"type", "Sequence"}, {"normalizers", {prepend, to_mark}}} : Json();
  form["pre_tokenizer"] = space_before ? Json() : metaspace;
  form["post_processor"] = nullptr;
  form["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
  return form;
}

std::string json_of(PieceModel const& model, Json const& form, bool bytes) {
  Json added = Json::array(), vocab = Json::object();
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    Piece const& piece = model.pieces[id];
    append(vocab, bytes && id < 256 ? byte_level_names()[id] : piece.text, id);
    if (piece.type == PieceType::control || piece.type == PieceType::unknown || piece.type == PieceType::user_defined)
      added.push_back(added_token(id, piece.text, piece.type != PieceType::user_defined));
  }
  Json json = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", added}};
  json.update(form);
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", unknown_name(model)},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", true},
                   {"byte_fallback", !bytes},
                   {"ignore_merges", false},
                   {"vocab", vocab},
                   {"merges", merges_of(model)}};
  return json.dump(1) + "\n";
}

bool is_imported(Tokenizer const& tokenizer) { return has_settings(tokenizer.serialized()); }

// The file that the tokenizer was read from says what it calls its tokens.
Json imported_config(Tokenizer const& tokenizer) {
  auto const [json, settings] = without_settings(tokenizer.serialized());
  nlohmann::json const file = nlohmann::json::parse(json);
  auto const name_of_id = [&file](int32_t wanted) {
    for (auto const& token : file.value("added_tokens", nlohmann::json::array()))
      if (token["id"] == wanted) return token["content"].get<std::string>();
    for (auto const& [token, id] : file["model"]["vocab"].items())
      if (id == wanted) return token;
    return std::string();
  };
  bool const has_start = !settings.text_start.empty() || tokenizer.starts_texts();
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"bos_token", has_start ? Json(name_of_id(tokenizer.text_start())) : Json()},
                 {"eos_token", name_of_id(tokenizer.document_end())}};
  config["unk_token"] = file["model"].value("unk_token", nlohmann::json());
  config["add_bos_token"] = tokenizer.starts_texts();
  config["clean_up_tokenization_spaces"] = false;
  config["split_special_tokens"] = settings.split_special_tokens;
  if (!settings.chat_template.empty()) config["chat_template"] = settings.chat_template;
  return config;
}

Json own_config(Tokenizer const& tokenizer) {
  PieceModel const model = pieces_of(tokenizer);
  return {{"tokenizer_class", "PreTrainedTokenizerFast"},
          {"bos_token", nullptr},
          {"eos_token", name_of(model, tokenizer.document_end())},
          {"unk_token", unknown_name(model)},
          {"add_bos_token", false},
          {"clean_up_tokenization_spaces", false},
          {"split_special_tokens", true}};  // "</s>" in a text is text
}

}  // namespace

std::string tokenizer_json(PieceModel const& model, bool space_before) { return json_of(model, marked_form(space_before), false); }

std::string tokenizer_json(Tokenizer const& tokenizer) {
  if (is_imported(tokenizer)) return without_settings(tokenizer.serialized()).first;
  PieceModel const model = pieces_of(tokenizer);
  bool const bytes = tokenizer.kind() == "byte";
  if (!bytes) check_kinds(model, "Hugging Face");
  return json_of(model, bytes ? byte_form() : marked_form(false), bytes);
}

std::string tokenizer_config_json(Tokenizer const& tokenizer, int64_t context) {
  Json config = is_imported(tokenizer) ? imported_config(tokenizer) : own_config(tokenizer);
  config["model_input_names"] = {"input_ids", "attention_mask"};  // transformers 4 refuses to generate with a third
  config["model_max_length"] = context;
  return config.dump(2) + "\n";
}

LlamaVocabulary llama_vocabulary(Tokenizer const& tokenizer) {
  PieceModel model = pieces_of(tokenizer);
  if (tokenizer.kind() == "byte")
    model.pieces[' '] = {space_piece, 0, PieceType::normal};  // what spaces are there before they become bytes
  check_kinds(model, "llama.cpp");
  Ids const ids = normal_ids(model);
  auto const is_symbol = [&](std::string_view text) { return ids.contains(text) || utf8_length(text) == text.size(); };
  LlamaVocabulary vocabulary;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    Piece const& piece = model.pieces[id];
    std::string name = piece.text;
    // llama.cpp merges into any piece, "</" and "s>" into the document end, too. A space never occurs in its texts, which have U+2581.
    bool reachable = false;
    if (piece.type != PieceType::normal)
      for_cuts(piece.text, [&](std::string_view left, std::string_view right) { reachable |= is_symbol(left) && is_symbol(right); });
    if (reachable && piece.type == PieceType::byte)
      refuse_export("llama.cpp", "the text '" + piece.text + "' would become the byte that this piece stands for");
    if (reachable) name += ' ';
    if (piece.type == PieceType::unknown) vocabulary.unknown = static_cast<int64_t>(id);
    vocabulary.tokens.push_back(name);
    vocabulary.scores.push_back(piece.score);
    vocabulary.types.push_back(static_cast<int32_t>(piece.type));
  }
  return vocabulary;
}

}  // namespace isobath
