// The table of configuration keys, what is generated from it, and the configurations that are shipped.

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "config/fields.h"
#include "config/values.h"
#include "core/error.h"
#include "core/files.h"

using namespace isobath;

namespace {

std::vector<fs::path> shipped_configs() {
  std::vector<fs::path> files;
  for (auto const& entry : fs::directory_iterator(fs::path(ISOBATH_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  return files;
}

}  // namespace

TEST_CASE("configs/README.md is what `isobath config table` prints") {
  CHECK(read_file(fs::path(ISOBATH_SOURCE_DIR) / "configs" / "README.md") == config_key_table());
}

TEST_CASE("every shipped configuration loads, and each of its arms") {
  auto const files = shipped_configs();
  REQUIRE(files.size() >= 4);
  for (fs::path const& file : files) {
    INFO(file);
    LoadedConfig const loaded = load_config(file, {});
    CHECK(loaded.config.name == file.stem());
    for (ArmConfig const& arm : loaded.config.compare.arms) {
      INFO(arm.name);
      CHECK_NOTHROW(arm_config(loaded, {arm.name, loaded.config.compare.seeds.front()}));
    }
  }
}

TEST_CASE("the default configuration is a valid one, key by key") {
  Config defaults;
  CHECK_NOTHROW(check_config(defaults));
  std::set<std::string> paths;
  for (ConfigField const& field : config_fields()) {
    INFO(field.path);
    CHECK(paths.insert(field.path).second);
    CHECK(field.doc.ends_with("."));
    CHECK(find_field(field.path) == &field);
    CHECK((field.kind == Kind::choice) == !field.choices.empty());
    CHECK((field.kind == Kind::duration || field.kind == Kind::duration_list) == !field.units.empty());
  }
  CHECK(is_section("model"));
  CHECK_FALSE(is_section("name"));
  CHECK_FALSE(is_section(""));
  CHECK(find_field("model") == nullptr);
}

TEST_CASE("resume classes") {
  auto const resume = [](char const* path) { return find_field(path)->resume; };
  for (char const* path :
       {"seed", "precision", "data.split", "tokenizer.vocab_size", "model.layers", "depth.capacity", "train.batch_tokens"}) {
    CHECK(resume(path) == ResumeClass::identity);
  }
  for (char const* path : {"data.sources", "data.valid_sources", "data.tasks", "data.bad_rows"})
    CHECK(resume(path) == ResumeClass::content);
  for (char const* path : {"train.budget", "train.lr", "train.warmup", "train.clip_norm"}) CHECK(resume(path) == ResumeClass::schedule);
  for (char const* path : {"name", "device", "data.cache_dir", "eval.every", "checkpoint.keep", "train.threads"})
    CHECK(resume(path) == ResumeClass::free);
}

TEST_CASE("the schema is JSON that names every key with its range") {
  auto const schema = nlohmann::json::parse(config_json_schema());
  CHECK(schema.at("$schema") == "http://json-schema.org/draft-07/schema#");
  CHECK(schema.at("additionalProperties") == false);
  for (ConfigField const& field : config_fields()) {
    INFO(field.path);
    std::string const section(section_of(field.path));
    nlohmann::json const* keys = &(section.empty() ? schema : schema.at("definitions").at(section)).at("properties");
    std::string name = field.path.substr(section.empty() ? 0 : section.size() + 1);
    for (size_t dot = name.find('.'); dot != std::string::npos; name = name.substr(dot + 1), dot = name.find('.'))
      keys = &keys->at(name.substr(0, dot)).at("properties");
    auto const& key = keys->at(name);
    CHECK(key.at("description").get<std::string>().starts_with(field.doc));
    if (field.kind == Kind::choice) CHECK(key.at("enum").size() == field.choices.size());
  }
  CHECK(schema.at("definitions").at("model").at("properties").at("layers").at("minimum") == 1);
  CHECK(schema.at("definitions").at("set").at("properties").contains("model.layers"));
  for (char const* nested : {"train.distill", "train.distill.from"})
    CHECK(schema.at("definitions").at("set").at("properties").contains(nested));
  CHECK_FALSE(schema.at("definitions").at("set").at("properties").contains("seed"));
}

TEST_CASE("help lists the keys of a section, one a line") {
  std::string const text = config_help("depth");
  CHECK(text.find("depth.capacity=0.125") != std::string::npos);
  CHECK(text.find("model.") == std::string::npos);
  CHECK(config_help("train.lr").find("train.lr=0.003") != std::string::npos);
  CHECK(config_help("xyzzy").empty());
  // Any word is looked for in keys and meanings, and names from elsewhere are answered.
  for (auto const& [word, key] :
       {std::pair("heads", "model.kv_heads"), std::pair("GELU", "model.mlp="), std::pair("warmup", "train.warmup"),
        std::pair("batch", "train.batch_tokens"), std::pair("compare", "compare.arms.NAME.match.forward_flops_of"),
        std::pair("compare", "compare.arms.NAME.set"), std::pair("n_layer", "here it is model.layers"),
        std::pair("dropout", "there is no dropout")}) {
    CAPTURE(word);
    CHECK(config_help(word).find(key) != std::string::npos);
  }
}

TEST_CASE("help says of every choice what each of its values does") {
  auto const check = [](Field const& field) {
    for (std::string const& value : field.choices) {
      CAPTURE(field.path, value);
      CHECK((" " + field.doc).find(" " + value + ": ") != std::string::npos);
    }
  };
  for (ConfigField const& field : config_fields()) check(field);
  for (MatchField const& field : match_fields()) check(field);
  CHECK(config_help("depth.skipped_kv").find("keep: later tokens can still attend to them") != std::string::npos);
  CHECK(config_help("depth.gate").find("raw: r; sigmoid: gate_alpha sigmoid(r); sigmoid2: 2 sigmoid(r)") != std::string::npos);
}

TEST_CASE("nearest name") {
  CHECK(nearest("capcity", {"layers", "capacity"}) == "capacity");
  CHECK(nearest("widht", {"width", "heads"}) == "width");
  CHECK(nearest("zzzz", {"width", "heads"}).empty());
}
