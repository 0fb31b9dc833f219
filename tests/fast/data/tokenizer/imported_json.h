#pragma once
// Small tokenizer.json files for tests.

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/imported/import_settings.h"
#include "data/tokenizer/tokenizer.h"

namespace isobath {

using TestJson = nlohmann::json;
using TestMerges = std::vector<std::pair<std::string, std::string>>;

inline TestJson test_added(int id, std::string const& text, TestJson const& more = TestJson::object()) {
  TestJson token = {{"id", id}, {"content", text}, {"special", true}, {"normalized", false}};
  token.update(more);
  return token;
}

inline void add_merges(TestJson& json, TestMerges const& merges) {
  TestJson& model = json["model"];
  for (auto const& [left, right] : merges) {
    if (!model["vocab"].contains(left + right)) model["vocab"][left + right] = model["vocab"].size();
    model["merges"].push_back({left, right});
  }
}

// Bytes have the ids 0 to 255, then come the results of the merges; "<end>" is 500. Byte-level with GPT-2's pattern.
inline TestJson byte_level_json(TestMerges const& merges = {}) {
  TestJson json = {{"normalizer", nullptr}, {"model", {{"type", "BPE"}, {"vocab", TestJson::object()}, {"merges", TestJson::array()}}}};
  for (int byte = 0; byte < 256; ++byte) json["model"]["vocab"][byte_level_names()[static_cast<size_t>(byte)]] = byte;
  add_merges(json, merges);
  json["added_tokens"] = {test_added(500, "<end>")};
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  json["decoder"] = {{"type", "ByteLevel"}};
  return json;
}

// The tokens <0x00> to <0xFF> have the ids 0 to 255, U+2581 256, "a" to "z" 257 to 282, then come the results of the merges; "<end>" is
// 500.
inline TestJson marked_json(TestMerges const& merges = {}) {
  TestJson json = {{"model", {{"type", "BPE"}, {"byte_fallback", true}, {"vocab", TestJson::object()}, {"merges", TestJson::array()}}}};
  TestJson& vocab = json["model"]["vocab"];
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    vocab[name] = byte;
  }
  vocab["\xe2\x96\x81"] = 256;
  for (char c = 'a'; c <= 'z'; ++c) vocab[std::string(1, c)] = 257 + c - 'a';
  add_merges(json, merges);
  json["added_tokens"] = {test_added(500, "<end>")};
  json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\xe2\x96\x81"}, {"prepend_scheme", "never"}, {"split", false}};
  return json;
}

inline std::unique_ptr<Tokenizer> tokenizer_from(TestJson const& json, ImportSettings settings = {}) {
  if (settings.document_end.empty() && settings.document_end_id < 0) settings.document_end = "<end>";
  return parse_tokenizer(with_settings(json.dump(), settings));
}

using Ids = std::vector<int32_t>;

}  // namespace isobath
