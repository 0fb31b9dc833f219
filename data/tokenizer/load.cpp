// Which tokenizer a file or folder holds.

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json_nesting.h"
#include "data/tokenizer/imported/gguf_tokenizer.h"
#include "data/tokenizer/imported/import_settings.h"
#include "data/tokenizer/imported/tokenizer_file.h"
#include "data/tokenizer/tokenizer.h"

namespace isobath {
namespace {

using JsonTree = nlohmann::json;

JsonTree json_beside(fs::path const& folder, char const* name) {
  if (!fs::exists(folder / name)) return JsonTree::object();
  std::string const text = read_file(folder / name);
  JsonTree json = nests_too_deep(text) ? JsonTree() : JsonTree::parse(text, nullptr, false);
  if (!json.is_object()) throw Error(ExitCode::data, (folder / name).string() + " is no JSON object");
  return json;
}

// "</s>" or {"content": "</s>", ...}
std::string token_text(JsonTree const& token) {
  if (token.is_object() && token.contains("content")) return token_text(token["content"]);
  return token.is_string() ? token.get<std::string>() : "";
}

// Several templates are a list of {name, template}: the one called "default" counts.
std::string chat_template(fs::path const& folder, JsonTree const& config) {
  if (fs::exists(folder / "chat_template.jinja")) return read_file(folder / "chat_template.jinja");
  JsonTree const found = config.value("chat_template", JsonTree());
  if (found.is_array())
    for (JsonTree const& each : found)
      if (each.is_object() && each.value("name", JsonTree()) == "default") return token_text(each.value("template", JsonTree()));
  return token_text(found);
}

// A model's embedding may have more rows than its tokenizer has ids. 0: it has none.
int64_t more_ids_beside(fs::path const& folder, std::string const& tokenizer_json) {
  JsonTree const rows = json_beside(folder, "config.json").value("vocab_size", JsonTree());
  if (!rows.is_number_integer()) return 0;
  int64_t const wanted = rows.get<int64_t>(), most = 1 << 24;
  if (wanted > most)
    throw Error(ExitCode::data, (folder / "config.json").string() + ": vocab_size is " + std::to_string(wanted) + ", allowed are up to " +
                                    std::to_string(most));
  return wanted > number_of_ids(read_tokenizer_file(tokenizer_json)) ? wanted : 0;
}

ImportSettings settings_beside(fs::path const& file, std::string const& tokenizer_json) {
  fs::path const folder = folder_of(file);
  JsonTree const config = json_beside(folder, "tokenizer_config.json");
  ImportSettings settings;
  settings.split_special_tokens = config.value("split_special_tokens", JsonTree()) == JsonTree(true);
  settings.chat_template = chat_template(folder, config);
  settings.vocab_size = more_ids_beside(folder, tokenizer_json);
  settings.text_start = token_text(config.value("bos_token", JsonTree()));
  settings.document_end = token_text(config.value("eos_token", JsonTree()));
  if (!settings.document_end.empty()) return settings;
  for (char const* name : {"generation_config.json", "config.json"}) {
    JsonTree id = json_beside(folder, name).value("eos_token_id", JsonTree());
    if (id.is_array() && !id.empty()) id = JsonTree(id[0]);
    if (id.is_number_integer()) {
      settings.document_end_id = id.get<int32_t>();
      return settings;
    }
  }
  throw Error(ExitCode::data,
              "which token ends a document is not known: beside " + file.filename().string() +
                  " there is neither a tokenizer_config.json with eos_token nor a generation_config.json or config.json with "
                  "eos_token_id");
}

std::string read_hugging_face(fs::path const& file) {
  std::string const content = read_file(file);
  return has_settings(content) ? content : with_settings(content, settings_beside(file, content));
}

bool file_starts_with(fs::path const& path, std::string_view start) {
  std::ifstream file(path, std::ios::binary);
  std::string found(start.size(), '\0');
  file.read(found.data(), static_cast<std::streamsize>(found.size()));
  return file && found == start;
}

}  // namespace

std::string read_tokenizer(fs::path const& path) {
  if (fs::is_directory(path)) {
    if (fs::exists(path / "tokenizer.json")) return read_hugging_face(path / "tokenizer.json");
    if (fs::exists(path / "tokenizer.model")) return read_file(path / "tokenizer.model");
    throw Error(ExitCode::data, "there is neither a tokenizer.json nor a tokenizer.model in " + path.string());
  }
  if (file_starts_with(path, "GGUF")) return gguf_tokenizer(path);
  return file_starts_with(path, "{") ? read_hugging_face(path) : read_file(path);
}

std::unique_ptr<Tokenizer> load_tokenizer(fs::path const& path) {
  try {
    return parse_tokenizer(read_tokenizer(path));
  } catch (Error const& error) {
    std::string const what = error.what();
    throw Error(ExitCode::data, what.find(path.string()) == std::string::npos ? path.string() + ": " + what : what);
  }
}

}  // namespace isobath
