// Kinds of depth that are added to the built-in ones, and checks that callers pass to the loader.

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "config/sections/depth_kinds.h"
#include "tests/fast/config_folder.h"

namespace isobath {
namespace {

void check_halved(Config const& config, std::vector<Contradiction>& found) {
  if (config.model.layers % 2 == 0) return;
  found.push_back({{"model.layers", "depth.kind"}, "`kind: halved` needs an even number of layers"});
}

struct WithHalved {
  WithHalved() { add_depth_kind({"halved", "half of the layers", check_halved}); }
  ~WithHalved() { remove_depth_kind("halved"); }
};

void check_seed(Config const& config, std::vector<Contradiction>& found) {
  if (config.seed == 13) found.push_back({{"seed"}, "seed 13 is unlucky"});
}

void check_few_layers(Config const& config, std::vector<Contradiction>& found) {
  if (config.model.layers > 4) found.push_back({{"model.layers"}, "more than 4 layers"});
}

std::vector<std::string> problems_of(std::filesystem::path const& file, std::vector<ConfigCheck> const& checks) {
  try {
    load_config(file, {}, checks);
  } catch (ConfigError const& error) {
    return error.problems();
  }
  return {};
}

TEST_CASE("an added kind of depth loads, is checked and prints") {
  WithHalved const halved;
  ConfigFolder folder;
  LoadedConfig const loaded = folder.load("depth: {kind: halved}\nmodel: {layers: 6}\n");
  CHECK(loaded.config.depth.kind == "halved");
  CHECK(to_yaml(loaded.config).find("  kind: halved\n") != std::string::npos);
  CHECK_NOTHROW(check_config(loaded.config));

  auto const problems = folder.problems("depth: {kind: halved}\nmodel: {layers: 5}\n");
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].starts_with("x.yaml:2:17: error: `kind: halved` needs an even number of layers"));
  CHECK(folder.problems("depth: {kind: dense}\nmodel: {layers: 5}\n").empty());
}

TEST_CASE("arms may be of an added kind") {
  WithHalved const halved;
  ConfigFolder folder;
  std::string const text = "compare: {baseline: a, arms: {a: {}, b: {set: {depth.kind: halved, model.layers: 3}}}}\n";
  auto const problems = folder.problems(text);
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].find("arm 'b': `kind: halved` needs an even number of layers") != std::string::npos);
}

TEST_CASE("help, schema and errors list an added kind") {
  WithHalved const halved;
  CHECK(config_help("depth.kind").find("scaled: a learned factor on what each layer adds; halved: half of the layers.") !=
        std::string::npos);
  auto const schema = nlohmann::json::parse(config_json_schema());
  auto const& values = schema.at("definitions").at("depth").at("properties").at("kind").at("enum");
  CHECK(std::find(values.begin(), values.end(), "halved") != values.end());
  auto const problems = ConfigFolder().problems("depth: {kind: halve}\n");
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].starts_with(
      "x.yaml:1:15: error: depth.kind: 'halve' is not one of dense, mod, nested, scaled, halved (did you mean 'halved'?)"));
}

TEST_CASE("a removed kind of depth is unknown") {
  { WithHalved const halved; }
  CHECK(ConfigFolder().problems("depth: {kind: halved}\n").size() == 1);
  CHECK(config_help("depth.kind").find("halved") == std::string::npos);
}

TEST_CASE("a kind of depth needs a name that is not taken") {
  size_t const before = depth_kind_options().size();
  CHECK_THROWS_MATCHES(add_depth_kind({"mod", "once more", nullptr}), Error,
                       Catch::Matchers::Message("there is a kind of depth 'mod' already"));
  CHECK_THROWS_AS(add_depth_kind({"", "nameless", nullptr}), Error);
  CHECK(depth_kind_options().size() == before);
}

TEST_CASE("further checks are listed with all other problems, at their place") {
  ConfigFolder folder;
  auto const file = folder.file("x.yaml", "seed: 13\nmodel: {heads: 3, kv_heads: 3, layers: 5}\nnmae: a\n");
  auto const problems = problems_of(file, {check_seed, check_few_layers});
  REQUIRE(problems.size() == 4);
  CHECK(problems[0].find("x.yaml:1:7: error: seed 13 is unlucky") != std::string::npos);
  CHECK(problems[1].find("model.heads (3) does not divide") != std::string::npos);
  CHECK(problems[2].find("x.yaml:2:40: error: more than 4 layers") != std::string::npos);
  CHECK(problems[3].find("unknown key 'nmae'") != std::string::npos);
  CHECK(problems_of(folder.file("y.yaml", "seed: 12\n"), {check_seed, check_few_layers}).empty());
}

TEST_CASE("further checks see each arm, and say once what all of them share") {
  ConfigFolder folder;
  std::string const text = "seed: 13\ncompare: {baseline: a, arms: {a: {}, b: {set: {model.layers: 5}}}}\n";
  auto const problems = problems_of(folder.file("x.yaml", text), {check_seed, check_few_layers});
  REQUIRE(problems.size() == 2);
  CHECK(problems[0].find("error: seed 13 is unlucky") != std::string::npos);
  CHECK(problems[1].find("arm 'b': more than 4 layers") != std::string::npos);
}

}  // namespace
}  // namespace isobath
