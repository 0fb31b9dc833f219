#include "trainer/export/model_code.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "config/sections/routers.h"
#include "core/error.h"
#include "core/files.h"
#include "model/depth/plan.h"
#include "trainer/export/code/files.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

// The part of a Python file behind its imports. The exported file is one head with all imports, followed by these parts.
std::string without_imports(std::string_view part) { return std::string(part.substr(part.find("\n# ---- ") + 1)); }

std::string short_hash(std::string const& text) { return hex(checksum(std::as_bytes(std::span(text)))).substr(0, 8); }

std::string replaced(std::string text, std::string const& from, std::string const& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

void add_router_keys(Json& keys, DepthConfig const& depth) {
  keys["router"] = depth.router;
  keys["router_input"] = depth.router_input.name();
  keys["router_width"] = depth.router_width;
  keys["gate"] = depth.gate.name();
  keys["gate_alpha"] = depth.gate_alpha;
  keys["causal"] = depth.causal.name();
  keys["predictor_width"] = depth.predictor_width;
}

void add_mod_keys(Json& keys, ModelConfig const& model, DepthConfig const& depth) {
  auto const plan = plan_depth(model, depth);
  keys["routed_layers"] = plan->routed_layers();
  keys["capacities"] = plan->capacities();
  keys["target"] = depth.target.name();
  keys["skip_path"] = depth.skip_path.name();
  keys["skip_rank"] = depth.skip_rank;
  add_router_keys(keys, depth);
}

void add_nested_keys(Json& keys, ModelConfig const& model, DepthConfig const& depth) {
  keys["exits"] = depth.exits;
  keys["choice"] = depth.choice.name();
  keys["recursion"] = depth.recursion;
  keys["exit_norms"] = depth.exit_norms;
  if (depth.choice == BranchChoice::expert) {
    std::vector<double> const of_layers = plan_depth(model, depth)->capacities();  // of the layers behind the first exit
    std::vector<double> capacities;
    for (int64_t const exit : depth.exits) capacities.push_back(of_layers.at(static_cast<size_t>(exit - depth.exits.front())));
    keys["capacities"] = capacities;
    add_router_keys(keys, depth);
    return;
  }
  keys["decide_after"] = depth.decide_after;
  keys["prefix_tokens"] = depth.prefix;
  keys["gate_training"] = depth.gate_training.name();
  keys["router"] = depth.router;
  keys["router_width"] = depth.router_width;
}

}  // namespace

ModelCode model_code(std::string const& kind) {
  static std::map<std::string, std::vector<char const*>> const parts{{"dense", {code_block, code_dense}},
                                                                     {"mod", {code_block, code_router, code_mod}},
                                                                     {"nested", {code_block, code_router, code_nested}},
                                                                     {"scaled", {code_block, code_scaled}}};
  if (!parts.contains(kind))
    throw Error(ExitCode::config, "depth.kind is " + kind + ": there is no Python code for it (--format safetensors takes any model)");
  std::string const template_name = "configuration_isobath";
  ModelCode code;
  code.configuration_text = code_configuration;
  code.modeling_text = code_head;
  for (char const* part : parts.at(kind)) code.modeling_text += "\n\n" + without_imports(part);
  code.modeling_text += "\n\n" + without_imports(code_model);
  std::string const hash = short_hash(code.configuration_text + code.modeling_text);
  code.configuration = template_name + "_" + hash;
  code.modeling = "modeling_isobath_" + hash;
  code.modeling_text = replaced(code.modeling_text, template_name, code.configuration);
  return code;
}

Json code_keys(ModelConfig const& model, DepthConfig const& depth, ModelCode const& code) {
  Json keys = {{"auto_map",
                {{"AutoConfig", code.configuration + ".IsobathConfig"},
                 {"AutoModel", code.modeling + ".IsobathModel"},
                 {"AutoModelForCausalLM", code.modeling + ".IsobathForCausalLM"}}},
               {"hidden_act", model.mlp == MlpKind::swiglu ? "silu" : "gelu_pytorch_tanh"},
               {"qk_norm", model.qk_norm},
               {"depth_kind", depth.kind},
               {"routing", "causal"}};
  if (depth.kind == "mod") add_mod_keys(keys, model, depth);
  if (depth.kind == "nested") add_nested_keys(keys, model, depth);
  if (depth.kind == "scaled") keys["scale"] = depth.scale.name();
  if (depth.kind != "dense") keys["skipped_kv"] = depth.skipped_kv.name();
  return keys;
}

void check_code_covers(DepthConfig const& depth) {
  bool const routes = depth.kind == "mod" || depth.kind == "nested";
  if (!routes || !router_kind(depth.router).random) return;
  throw Error(ExitCode::config,
              "depth.router is random: its choices come from Isobath's own random numbers, which PyTorch cannot repeat; "
              "--format safetensors takes any model");
}

bool decides_routing(std::string const& tensor) {
  static constexpr std::string_view marks[] = {".router.", ".predictor.", ".depth_gate.", ".depth_scale.", ".scale."};
  return std::any_of(std::begin(marks), std::end(marks), [&](std::string_view mark) { return tensor.find(mark) != std::string::npos; });
}

}  // namespace isobath
