#include "data/tokenizer/imported/preparation.h"

#include <algorithm>

#include "core/error.h"
#include "data/tokenizer/imported/pattern.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

Json split_by(char const* pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

Json byte_level_step(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

std::vector<Preparation> preparations() {
  Json const digits = {{"type", "Digits"}, {"individual_digits", true}};
  return {{{"gpt-2", "phi-2"}, {byte_level_step(true)}, false, false},
          {{"smollm", "starcoder", "refact"}, {digits, byte_level_step(true)}, false, false},
          {{"llama-bpe", "llama3", "llama-v3"}, {split_by(llama3_pattern), byte_level_step(false)}, false, true},
          {{"qwen2", "deepseek-r1-qwen"}, {split_by(qwen2_pattern), byte_level_step(false)}, true, false}};
}

bool has_name(Preparation const& preparation, std::string const& name) {
  return std::find(preparation.names.begin(), preparation.names.end(), name) != preparation.names.end();
}

// What a tokenizer.json with these steps is read as.
TokenizerFile file_with(Preparation const& preparation) {
  Json const model = {{"type", "BPE"}, {"vocab", Json::object()}, {"merges", Json::array()}, {"ignore_merges", preparation.ignore_merges}};
  return read_tokenizer_file(Json{{"model", model},
                                  {"normalizer", preparation.nfc ? Json{{"type", "NFC"}} : Json()},
                                  {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", preparation.steps}}}}
                                 .dump());
}

}  // namespace

Preparation preparation_called(std::string const& name) {
  for (Preparation const& each : preparations())
    if (has_name(each, name)) return each;
  throw Error(ExitCode::data,
              "unusable tokenizer in a GGUF file: tokenizer.ggml.pre '" + name + "' is not supported; known are " + known_preparations());
}

std::string preparation_name(TokenizerFile const& file, std::string const& preferred) {
  for (Preparation const& each : preparations()) {
    TokenizerFile const known = file_with(each);
    bool const same = file.byte_level && file.prefix == known.prefix && file.patterns == known.patterns && file.nfc == known.nfc &&
                      file.ignore_merges == known.ignore_merges;
    if (same) return has_name(each, preferred) ? preferred : each.names.front();
  }
  return {};
}

std::string known_preparations() {
  std::string list;
  for (Preparation const& each : preparations())
    for (std::string const& name : each.names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

}  // namespace isobath
