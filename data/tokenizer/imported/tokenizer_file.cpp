#include "data/tokenizer/imported/tokenizer_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/json_nesting.h"
#include "data/tokenizer/imported/import_settings.h"
#include "data/tokenizer/imported/pattern.h"

namespace isobath {
namespace {

using JsonTree = nlohmann::json;

constexpr char const* marked_space = "\xe2\x96\x81";  // U+2581
constexpr int32_t most_ids = 1 << 24;

bool flag_at(JsonTree const& object, char const* key, bool otherwise) {
  auto const found = object.find(key);
  return found == object.end() || found->is_null() ? otherwise : found->get<bool>();
}

std::string string_at(JsonTree const& object, char const* key) {
  auto const found = object.find(key);
  return found == object.end() || found->is_null() ? std::string() : found->get<std::string>();
}

JsonTree part_at(JsonTree const& object, char const* key) {
  auto const found = object.find(key);
  return found == object.end() ? JsonTree() : *found;
}

int32_t checked_id(JsonTree const& id, std::string const& token) {
  if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= most_ids)
    refuse_tokenizer_json("token '" + token + "' has the id " + id.dump() + ", allowed are 0 to " + std::to_string(most_ids - 1));
  return id.get<int32_t>();
}

// The parts of a Sequence, or the one thing itself; nothing for null.
std::vector<JsonTree> steps_of(JsonTree const& thing, char const* key) {
  if (thing.is_null()) return {};
  if (string_at(thing, "type") != "Sequence") return {thing};
  std::vector<JsonTree> steps;
  for (JsonTree const& each : thing.at(key))
    for (JsonTree const& step : steps_of(each, key)) steps.push_back(step);
  return steps;
}

// ---- the model

int32_t id_of(TokenizerFile const& file, std::string const& token, std::string const& where) {
  auto const found = file.vocabulary.find(token);
  if (found == file.vocabulary.end()) refuse_tokenizer_json(where + " names '" + token + "', which is not in its vocabulary");
  return found->second;
}

void read_merges(JsonTree const& merges, TokenizerFile& file) {
  for (size_t i = 0; i < merges.size(); ++i) {
    std::string const where = "merge " + std::to_string(i);
    std::string left, right;
    if (merges[i].is_string()) {  // "l r", as older files have it
      std::string const both = merges[i].get<std::string>();
      size_t const space = both.find(' ');
      if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos)
        refuse_tokenizer_json(where + " is '" + both + "', not two tokens");
      left = both.substr(0, space);
      right = both.substr(space + 1);
    } else {
      if (!merges[i].is_array() || merges[i].size() != 2) refuse_tokenizer_json(where + " is " + merges[i].dump() + ", not two tokens");
      left = merges[i][0].get<std::string>();
      right = merges[i][1].get<std::string>();
    }
    file.merges.push_back({id_of(file, left, where), id_of(file, right, where), id_of(file, left + right, where)});
  }
}

void read_model(JsonTree const& model, TokenizerFile& file) {
  std::string const type = string_at(model, "type");
  // Old files have no type.
  bool const is_bpe = type == "BPE" || (type.empty() && model.contains("merges"));
  if (!is_bpe) refuse_tokenizer_json("its model is " + (type.empty() ? "not named" : "a '" + type + "'") + "; BPE is supported");
  if (auto const dropout = part_at(model, "dropout"); dropout.is_number() && dropout.get<double>() > 0)
    refuse_tokenizer_json("its model has a dropout of merges");
  for (char const* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!string_at(model, affix).empty())
      refuse_tokenizer_json(std::string("its model has a ") + affix + ", '" + string_at(model, affix) + "'");
  for (auto const& [token, id] : model.at("vocab").items()) file.vocabulary[token] = checked_id(id, token);
  read_merges(model.at("merges"), file);
  if (std::string const unknown = string_at(model, "unk_token"); !unknown.empty()) file.unknown = id_of(file, unknown, "unk_token");
  file.fuse_unknown = flag_at(model, "fuse_unk", false);
  file.ignore_merges = flag_at(model, "ignore_merges", false);
}

// ---- what is done to the text before

void read_normalizer(JsonTree const& normalizer, TokenizerFile& file) {
  for (JsonTree const& step : steps_of(normalizer, "normalizers")) {
    std::string const type = string_at(step, "type");
    if (type == "NFC") {
      file.nfc = true;
    } else if (type == "Prepend" && string_at(step, "prepend") == marked_space) {
      file.prefix = Prefix::always;
    } else if (type == "Replace" && part_at(step.at("pattern"), "String") == " " && string_at(step, "content") == marked_space) {
      file.mark_spaces = true;
    } else {
      refuse_tokenizer_json("its normalizer has a step " + step.dump() +
                            "; NFC, Prepend of U+2581 and Replace of a space by U+2581 are supported");
    }
  }
}

std::string pattern_of(JsonTree const& split) {
  JsonTree const pattern = part_at(split.at("pattern"), "Regex");
  if (!pattern.is_string() || string_at(split, "behavior") != "Isolated" || flag_at(split, "invert", false))
    refuse_tokenizer_json("its pre-tokenizer has a step " + split.dump() +
                          "; of Split, a Regex with behavior Isolated, not inverted, is supported");
  return pattern.get<std::string>();
}

Prefix prefix_of(JsonTree const& metaspace) {
  std::string const scheme = string_at(metaspace, "prepend_scheme");
  if (scheme == "never" || (scheme.empty() && !flag_at(metaspace, "add_prefix_space", true))) return Prefix::none;
  return scheme == "first" ? Prefix::first_unless_space : Prefix::unless_space;
}

void read_pre_tokenizer(JsonTree const& pre_tokenizer, TokenizerFile& file) {
  std::vector<JsonTree> const steps = steps_of(pre_tokenizer, "pretokenizers");
  bool marks_spaces = file.mark_spaces;
  for (JsonTree const& step : steps) {
    std::string const type = string_at(step, "type");
    bool const is_last = &step == &steps.back();
    if (type == "Split" && !is_last) {
      file.patterns.push_back(pattern_of(step));
    } else if (type == "Digits" && !is_last) {
      file.patterns.push_back(flag_at(step, "individual_digits", false) ? digit_pattern : digits_pattern);
    } else if (type == "ByteLevel" && is_last) {
      file.byte_level = true;
      if (flag_at(step, "use_regex", true)) file.patterns.push_back(gpt2_pattern);
      if (flag_at(step, "add_prefix_space", true)) file.prefix = Prefix::unless_space;
    } else if (type == "Metaspace" && steps.size() == 1 && string_at(step, "replacement") == marked_space) {
      if (file.prefix == Prefix::none)
        file.prefix = prefix_of(step);
      else if (prefix_of(step) != Prefix::none)
        refuse_tokenizer_json("its normalizer and its pre-tokenizer both put U+2581 before a text");
      file.split_words = flag_at(step, "split", true);
      marks_spaces = true;
    } else {
      refuse_tokenizer_json("its pre-tokenizer has a step " + step.dump() +
                            "; supported are Split and Digits before a last ByteLevel, and Metaspace with U+2581 alone");
    }
  }
  if (!file.byte_level && !marks_spaces)
    refuse_tokenizer_json(
        "neither ByteLevel nor Metaspace prepares its text: it is neither a byte-level BPE nor one that writes U+2581 for a space");
}

// "<s> $A" is a list of {"SpecialToken": {"id": "<s>"}} and {"Sequence": ...}.
void read_post_processor(JsonTree const& post_processor, TokenizerFile& file) {
  for (JsonTree const& step : steps_of(post_processor, "processors")) {
    JsonTree const parts = string_at(step, "type") == "TemplateProcessing" ? part_at(step, "single") : JsonTree();
    if (parts.is_array() && !parts.empty() && parts[0].contains("SpecialToken"))
      file.put_before = string_at(parts[0]["SpecialToken"], "id");
  }
}

void check_agreement(JsonTree const& json, TokenizerFile const& file) {
  bool const byte_fallback = flag_at(json.at("model"), "byte_fallback", false);
  if (file.byte_level && (file.mark_spaces || byte_fallback || (file.prefix == Prefix::always)))
    refuse_tokenizer_json("it is byte-level and has U+2581 for a space or byte_fallback as well");
  if (!file.byte_level && file.ignore_merges) refuse_tokenizer_json("it has ignore_merges without ByteLevel");
  if (!file.byte_level && !byte_fallback)
    refuse_tokenizer_json("it has no byte_fallback, so that characters outside its vocabulary would be lost");
  for (JsonTree const& step : steps_of(part_at(json, "decoder"), "decoders")) {
    std::string const type = string_at(step, "type");
    bool const known = file.byte_level
                           ? type == "ByteLevel"
                           : type == "Metaspace" || type == "Replace" || type == "ByteFallback" || type == "Fuse" || type == "Strip";
    if (!known)
      refuse_tokenizer_json("its decoder has a step '" + type + "'; supported is " +
                            (file.byte_level ? "ByteLevel" : "Metaspace, or Replace, ByteFallback, Fuse and Strip"));
  }
}

void read_added(JsonTree const& added, TokenizerFile& file) {
  for (JsonTree const& each : added) {
    AddedToken token;
    token.text = each.at("content").get<std::string>();
    token.id = checked_id(each.at("id"), token.text);
    token.special = flag_at(each, "special", false);
    token.normalized = flag_at(each, "normalized", !token.special);
    token.lstrip = flag_at(each, "lstrip", false);
    token.rstrip = flag_at(each, "rstrip", false);
    if (flag_at(each, "single_word", false)) refuse_tokenizer_json("its added token '" + token.text + "' is a single_word");
    if (token.normalized && file.mark_spaces && (token.lstrip || token.rstrip))
      refuse_tokenizer_json("its added token '" + token.text + "' is normalized and strips white space, which its normalizer replaces");
    file.added.push_back(token);
  }
}

}  // namespace

int64_t number_of_ids(TokenizerFile const& file) {
  int64_t last = -1;
  for (auto const& [name, id] : file.vocabulary) last = std::max<int64_t>(last, id);
  for (AddedToken const& token : file.added) last = std::max<int64_t>(last, token.id);
  return last + 1;
}

TokenizerFile read_tokenizer_file(std::string_view content) {
  if (nests_too_deep(content)) refuse_tokenizer_json("it nests more than " + std::to_string(deepest_json) + " levels deep");
  try {
    JsonTree const json = JsonTree::parse(content);
    TokenizerFile file;
    read_model(json.at("model"), file);
    read_normalizer(part_at(json, "normalizer"), file);
    read_pre_tokenizer(part_at(json, "pre_tokenizer"), file);
    read_post_processor(part_at(json, "post_processor"), file);
    check_agreement(json, file);
    read_added(part_at(json, "added_tokens"), file);
    return file;
  } catch (JsonTree::exception const& error) {
    refuse_tokenizer_json(error.what());
  }
}

}  // namespace isobath
