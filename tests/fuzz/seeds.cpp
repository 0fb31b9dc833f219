// fuzz_seeds FOLDER: writes the first inputs of the targets into FOLDER/TARGET, with the program's own writers, and words for libFuzzer's
// dictionaries into FOLDER/TARGET.dict. The configurations and task files of configs/ are copied by scripts/faults/fuzz.sh.

#include <fstream>
#include <nlohmann/json.hpp>

#include "config/fields.h"
#include "config/io.h"
#include "data/shards/cache.h"
#include "data/shards/shards.h"
#include "data/tokenizer/bpe_tokenizer.h"
#include "data/tokenizer/export.h"
#include "data/tokenizer/imported/import_settings.h"
#include "data/tokenizer/imported/preparation.h"
#include "format/gguf.h"
#include "tests/fast/data/tokenizer/imported_json.h"
#include "trainer/run/checkpoint.h"
#include "trainer/run/state.h"

using namespace isobath;

namespace {

class Seeds {
 public:
  explicit Seeds(fs::path folder) : folder_(std::move(folder)) {}

  fs::path path(std::string const& target, std::string const& name) const {
    fs::create_directories(folder_ / target);
    return folder_ / target / name;
  }
  void add(std::string const& target, std::string const& name, std::string_view content) const {
    std::ofstream(path(target, name), std::ios::binary) << content;
  }
  void words(std::string const& target, std::vector<std::string> const& words) const {
    std::ofstream file(folder_ / (target + ".dict"));
    for (std::string const& word : words) file << '"' << word << "\"\n";
  }

 private:
  fs::path folder_;
};

void configurations(Seeds const& seeds) {
  seeds.add("config", "all-keys.yaml", to_yaml(Config()));
  std::vector<std::string> words{"include: ", "compare:", "arms:", "set: ", "size: ", "match: ", "auto", "true",
                                 ".nan",      "1e309",    "-1",    "10%",   "{",      "}",       "["};
  std::string overrides;
  for (ConfigField const& field : config_fields()) {
    words.push_back(field.path);
    for (std::string const& choice : field.choices) words.push_back(choice);
    for (Unit const unit : field.units) words.push_back(unit == Unit::step ? "10step" : unit == Unit::flop ? "1e12flop" : "5%");
    Config defaults;
    overrides += field.path + "=" + (field.choices.empty() ? "1" : field.choices.front()) + "\n";
    seeds.add("overrides", field.path, field.path + "=" + (field.choices.empty() ? "1" : field.choices.front()));
  }
  seeds.add("overrides", "all", overrides);
  seeds.add("overrides", "arm", "compare.arms={dense: {}, mod: {set: {depth: {kind: mod, capacity: 12.5%}}}}\ncompare.baseline=dense\n");
  seeds.words("config", words);
  seeds.words("overrides", words);
}

void binary_formats(Seeds const& seeds) {
  float const values[8]{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<TensorView> const tensors{{"a", "F32", {2, 4}, std::as_bytes(std::span(values))},
                                        {"b", "F32", {8}, std::as_bytes(std::span(values))}};
  write_safetensors(seeds.path("safetensors", "two"), tensors, {{"format", "pt"}});
  GgufMetadata metadata{{"general.alignment", uint32_t{32}}, {"general.name", std::string("x")}, {"list", gguf_array<float>({1.0F, 2.0F})}};
  write_gguf(seeds.path("gguf", "two"), tensors, metadata);
  std::vector<std::string> tokens{"<unk>", "<s>", "</s>", "\xe2\x96\x81", "a", "b", "ab"};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    tokens.emplace_back(name);
  }
  std::vector<int32_t> types(tokens.size(), 6);
  for (size_t id = 0; id < 7; ++id) types[id] = id == 0 ? 2 : id < 3 ? 3 : 1;
  GgufMetadata const llama{{"tokenizer.ggml.model", std::string("llama")},
                           {"tokenizer.ggml.tokens", gguf_array(tokens)},
                           {"tokenizer.ggml.scores", gguf_array(std::vector<float>(tokens.size(), -1.0F))},
                           {"tokenizer.ggml.token_type", gguf_array(types)},
                           {"tokenizer.ggml.bos_token_id", uint32_t{1}},
                           {"tokenizer.ggml.eos_token_id", uint32_t{2}}};
  write_gguf(seeds.path("gguf", "llama"), {}, llama);
  std::vector<std::vector<int32_t>> const documents{{1, 2, 3}, {4}, {}};
  write_shard(seeds.path("shard", "narrow"), documents, 256, 4, "0123456789abcdef");
  write_shard(seeds.path("shard", "wide"), documents, 70000, 4, "0123456789abcdef", {{true, false, true}, {true}, {}});
}

void tokenizers(Seeds const& seeds) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "the cat " + std::to_string(i * i) + " sat on that mat, ";
  seeds.add("tokenizer_model", "bpe", train_bpe({text}, 300)->serialized());
  seeds.add("tokenizer_model", "byte", byte_tokenizer()->serialized());
  std::string const byte_level = byte_level_json({{"a", "b"}, {"t", "h"}, {"th", "e"}}).dump(), marked = marked_json({{"a", "b"}}).dump();
  ImportSettings settings;
  settings.document_end = "<end>";
  settings.text_start = "<end>";
  seeds.add("tokenizer_json", "byte-level", byte_level);
  seeds.add("tokenizer_json", "marked", marked);
  seeds.add("tokenizer_json", "with-settings", with_settings(byte_level, settings));
  TestJson patterns = byte_level_json({{"a", "b"}});
  patterns["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", "\\p{L}+|\\s+(?!\\S)"}}}, {"behavior", "Isolated"}, {"invert", false}},
        {{"type", "Digits"}, {"individual_digits", true}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  patterns["normalizer"] = {{"type", "NFC"}};
  seeds.add("tokenizer_json", "patterns", patterns.dump());
  seeds.words("tokenizer_json",
              {"\\\"model\\\"", "\\\"vocab\\\"", "\\\"merges\\\"", "\\\"Regex\\\"", "\\\"Split\\\"", "\\\"Sequence\\\"",
               "\\\"Metaspace\\\"", "\\\"ByteLevel\\\"", "\\\"normalizer\\\"", "\\\"added_tokens\\\"", "{\\\"isobath\\\":"});
}

void states(Seeds const& seeds) {
  TrainState state;
  state.segments = {{0, 100, {"train.lr: 0.003 -> 0.001"}}};
  state.origin.teacher = "x";
  seeds.add("state", "state.json", to_json(state).dump(2));
  fs::path const folder = seeds.path("manifest", "step-00000001");
  write_checkpoint_folder(folder, [](fs::path const& inside) { write_file_atomic(inside / "model.safetensors", "weights"); });
  seeds.add("manifest", "manifest.json", read_file(folder / "manifest.json"));
  fs::remove_all(folder);
  auto const tokenizer = byte_tokenizer();
  PreparedData data;
  data.tokenizer = byte_tokenizer();
  fs::path const prepared = seeds.path("prepared", "folder");
  fs::create_directories(prepared);
  for (char const* part : {"train", "valid"}) {
    fs::path const shard = prepared / (std::string(part) + "-00000.shard");
    std::string const word = std::string(part) == "train" ? "training" : "validation";
    write_shard(shard, {tokenizer->encode(word)}, tokenizer->document_end(), static_cast<int64_t>(word.size()), tokenizer->fingerprint());
    (std::string(part) == "train" ? data.train : data.valid) = {shard};
  }
  write_summary(prepared, data, DataConfig());
  seeds.add("prepared", "data.json", read_file(prepared / "data.json"));
  fs::remove_all(prepared);
}

void rows(Seeds const& seeds) {
  std::string const row = R"({"text": "a \u00e9 \ud83d\ude00", "choices": ["a", "b"], "answer": 1, "prompt": "p", "id": 7, "seed": 3})";
  seeds.add("rows", "one", row + "\n" + row);
  seeds.add("prompts", "one", row + "\n" + row + "\n\n");
  seeds.add("prompts", "plain", "Once upon\r\na time\n");
  seeds.add("utf8", "mixed", "a\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80 stop \xc3\xa9nd \xff\xf0\x9f");
  int number = 0;
  for (char const* text :
       {"64Ki", "2.5M", "1e6", "500step", "20Mtok", "3epoch", "2e14flop", "5%", "1.5s", "-170141183460469231731687303715884105728"})
    seeds.add("units", std::to_string(number++), text);
  seeds.words("units", {"Ki", "Mi", "Gi", "Ti", "K", "M", "G", "T", "step", "tok", "epoch", "flop", "%", "s", "e308", "e-5", "1e", "."});
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  Seeds const seeds(arguments[1]);
  configurations(seeds);
  binary_formats(seeds);
  tokenizers(seeds);
  states(seeds);
  rows(seeds);
}
