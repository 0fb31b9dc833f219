#include "data/tokenizer/imported/import_settings.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/json_nesting.h"

namespace isobath {
namespace {

constexpr std::string_view settings_start = "{\"isobath\":";

}  // namespace

void refuse_tokenizer_json(std::string const& what) { throw Error(ExitCode::data, "unusable tokenizer.json: " + what); }

std::string with_settings(std::string_view tokenizer_json, ImportSettings const& settings) {
  size_t const brace = tokenizer_json.find_first_not_of(" \t\r\n");
  if (brace == std::string_view::npos || tokenizer_json[brace] != '{') refuse_tokenizer_json("it is no JSON object");
  nlohmann::ordered_json values;
  if (settings.document_end.empty())
    values["document_end"] = settings.document_end_id;
  else
    values["document_end"] = settings.document_end;
  if (settings.split_special_tokens) values["split_special_tokens"] = true;
  if (settings.vocab_size > 0) values["vocab_size"] = settings.vocab_size;
  if (!settings.chat_template.empty()) values["chat_template"] = settings.chat_template;
  if (!settings.text_start.empty()) values["text_start"] = settings.text_start;
  if (!settings.preparation.empty()) values["preparation"] = settings.preparation;
  return std::string(settings_start) + values.dump() + "," + std::string(tokenizer_json.substr(brace + 1));
}

bool has_settings(std::string_view json) { return json.starts_with(settings_start); }

std::pair<std::string, ImportSettings> without_settings(std::string_view serialized) {
  if (nests_too_deep(serialized)) refuse_tokenizer_json("it nests more than " + std::to_string(deepest_json) + " levels deep");
  ImportSettings settings;
  std::istringstream rest{std::string(serialized.substr(std::min(serialized.size(), settings_start.size())))};
  try {
    nlohmann::json values;
    rest >> values;  // stops behind the object
    nlohmann::json const end = values.at("document_end");
    if (end.is_string()) settings.document_end = end.get<std::string>();
    if (end.is_number_integer()) settings.document_end_id = end.get<int32_t>();
    settings.split_special_tokens = values.value("split_special_tokens", false);
    settings.vocab_size = values.value("vocab_size", int64_t{0});
    settings.chat_template = values.value("chat_template", "");
    settings.text_start = values.value("text_start", "");
    settings.preparation = values.value("preparation", "");
  } catch (nlohmann::json::exception const& error) {
    refuse_tokenizer_json(std::string("its key 'isobath': ") + error.what());
  }
  size_t const comma = serialized.find(',', settings_start.size() + static_cast<size_t>(rest.tellg()));
  if (comma == std::string_view::npos) refuse_tokenizer_json("it has nothing but the key 'isobath'");
  return {"{" + std::string(serialized.substr(comma + 1)), settings};
}

std::string what_decides_ids(std::string_view serialized) {
  auto [json, settings] = without_settings(serialized);
  settings.text_start.clear();
  settings.preparation.clear();
  return with_settings(json, settings);
}

}  // namespace isobath
