#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/tokenizer/tokenizer.h"
#include "format/safetensors_folder.h"
#include "tests/fast/scratch.h"
#include "trainer/export/hugging_face.h"
#include "trainer/export/model_card.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;

namespace {

ModelConfig exported_model() {
  ModelConfig model;
  model.layers = 6;
  model.width = 32;
  model.kv_heads = 4;
  model.mlp_width = 88;
  model.init_std = 0.1;
  return model;
}

json keys_of(DepthConfig const& depth) {
  ModelCode const code = model_code(depth.kind);
  return json::parse(code_keys(exported_model(), depth, code).dump());
}

}  // namespace

TEST_CASE("model code: a file holds its own kind of depth and nothing of the others") {
  std::map<std::string, std::string> const classes{
      {"mod", "class MixtureOfDepths"}, {"nested", "class NestedDepth"}, {"scaled", "class ScaledDepth"}};
  for (std::string const kind : {"dense", "mod", "nested", "scaled"}) {
    std::string const text = model_code(kind).modeling_text;
    CHECK_THAT(text, ContainsSubstring("class IsobathForCausalLM"));
    for (auto const& [other, name] : classes) CHECK((text.find(name) != std::string::npos) == (kind == other));
    CHECK((text.find("class Router") != std::string::npos) == (kind == "mod" || kind == "nested"));
    CHECK(text.find("from .block") == std::string::npos);
  }
  CHECK_THROWS_AS(model_code("spiral"), Error);
}

TEST_CASE("model code: modules are named after their content and import each other by these names") {
  ModelCode const mod = model_code("mod"), nested = model_code("nested");
  CHECK(mod.configuration != nested.configuration);  // transformers finds the model's class by it
  CHECK(mod.modeling != nested.modeling);
  CHECK_THAT(mod.modeling_text, ContainsSubstring("from ." + mod.configuration + " import IsobathConfig"));
}

TEST_CASE("model code: keys of Mixture-of-Depths give every routed layer its capacity") {
  DepthConfig depth;
  depth.kind = "mod";
  depth.capacity = {0.5, 0.25};
  depth.causal = Causal::threshold;
  json const keys = keys_of(depth);
  CHECK(keys["routed_layers"] == json{1, 3, 5});
  CHECK(keys["capacities"] == json{0.5, 0.375, 0.25});
  CHECK(keys["causal"] == "threshold");
  CHECK(keys["routing"] == "causal");
  CHECK(keys["auto_map"]["AutoModelForCausalLM"] == model_code("mod").modeling + ".IsobathForCausalLM");
}

TEST_CASE("model code: keys of nested depth name its exits, with expert choice their capacities") {
  DepthConfig depth;
  depth.kind = "nested";
  depth.exits = {2, 4};
  depth.decide_after = 2;
  json const network = keys_of(depth);
  CHECK(network["exits"] == json{2, 4});
  CHECK(network["decide_after"] == 2);
  CHECK_FALSE(network.contains("capacities"));
  depth.choice = BranchChoice::expert;
  json const expert = keys_of(depth);
  REQUIRE(expert["capacities"].size() == 2);
  CHECK(expert["capacities"][0].get<double>() > 0.66);
  CHECK(expert["capacities"][1].get<double>() < 0.34);
}

TEST_CASE("model code: random routers are refused with the reason") {
  DepthConfig depth;
  depth.kind = "mod";
  depth.router = "random";
  CHECK_THROWS_WITH(check_code_covers(depth), ContainsSubstring("own random numbers"));
  depth.kind = "scaled";  // reads no router
  CHECK_NOTHROW(check_code_covers(depth));
}

TEST_CASE("model code: what decides the routing stays in F32") {
  for (char const* name : {"model.layers.1.router.cut", "model.layers.1.predictor.up.weight", "model.depth_gate.bias",
                           "model.layers.0.scale.factor", "model.depth_scale.threshold"})
    CHECK(decides_routing(name));
  for (char const* name :
       {"model.layers.1.mlp.up_proj.weight", "model.layers.1.skip.up.weight", "model.exit_norms.0.weight", "lm_head.weight"})
    CHECK_FALSE(decides_routing(name));
}

TEST_CASE("model code: a folder with code") {
  Scratch const scratch;
  auto const tokenizer = byte_tokenizer();
  std::vector<float> const values(64, 0.3f);
  ExportedModel exported;
  exported.name = "small";
  exported.model = exported_model();
  exported.depth.kind = "mod";
  exported.tokenizer = tokenizer.get();
  exported.code = model_code("mod");
  exported.weights = {{"model.layers.0.mlp.up_proj.weight", "F32", {8, 8}, std::as_bytes(std::span(values))},
                      {"model.layers.1.router.weight", "F32", {64}, std::as_bytes(std::span(values))}};
  fs::path const folder = scratch.path() / "out";
  fs::create_directories(folder);
  write_hugging_face(folder, exported, {"BF16", 1'000'000, model_card(exported, CardFacts{})});

  json const config = json::parse(read_file(folder / "config.json"));
  CHECK(config["model_type"] == "isobath");
  CHECK(config["architectures"] == json{"IsobathForCausalLM"});
  CHECK(config["dtype"] == "bfloat16");
  std::string const configuration = config["auto_map"]["AutoConfig"], modeling = config["auto_map"]["AutoModel"];
  CHECK(fs::exists(folder / (configuration.substr(0, configuration.find('.')) + ".py")));
  CHECK(read_file(folder / (modeling.substr(0, modeling.find('.')) + ".py")) == exported.code->modeling_text);
  SafetensorsFolder const weights(folder);
  for (TensorView const& tensor : weights.tensors())
    CHECK(tensor.dtype == (tensor.name == "model.layers.1.router.weight" ? "F32" : "BF16"));
  std::string const card = read_file(folder / "README.md");
  CHECK_THAT(card, ContainsSubstring("are those of **causal** routing"));
  CHECK_THAT(card, ContainsSubstring("trust_remote_code=True"));
}
