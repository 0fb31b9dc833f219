#include "trainer/run/old_names.h"

#include <utility>
#include <vector>

namespace isobath {

namespace {

constexpr std::pair<char const*, char const*> whole_model[] = {
    {"model.embed_tokens.weight", "embedding"},
    {"model.norm.weight", "norm"},
    {"lm_head.weight", "head"},
    {"model.depth_gate.up.weight", "depth_gate.hidden"},
    {"model.depth_gate.weight", "depth_gate.weight"},
    {"model.depth_gate.bias", "depth_gate.bias"},
};

// Names within one layer. In old checkpoints a block was named by itself ("layer1.attention.qkv") or inside a routed block
// ("layer1.block.attention.qkv").
constexpr std::pair<char const*, char const*> of_block[] = {
    {"input_layernorm.weight", "attention.norm"},
    {"self_attn.qkv_proj.weight", "attention.qkv"},
    {"self_attn.o_proj.weight", "attention.o"},
    {"self_attn.q_norm.weight", "attention.q_norm"},
    {"self_attn.k_norm.weight", "attention.k_norm"},
    {"post_attention_layernorm.weight", "mlp.norm"},
    {"mlp.gate_up_proj.weight", "mlp.up"},
    {"mlp.up_proj.weight", "mlp.up"},
    {"mlp.down_proj.weight", "mlp.down"},
};
constexpr std::pair<char const*, char const*> of_router[] = {
    {"router.weight", "router.weight"},
    {"router.up.weight", "router.score_up"},
    {"router.down.weight", "router.score_down"},
    {"router.position.weight", "router.score_position"},
    {"router.token.weight", "router.score_token"},
    {"predictor.up.weight", "router.up"},
    {"predictor.up.bias", "router.up_bias"},
    {"predictor.down.weight", "router.down"},
    {"predictor.down.bias", "router.down_bias"},
    {"skip.down.weight", "skip.down"},
    {"skip.up.weight", "skip.up"},
};

// Every name that the parameter may have had.
std::vector<std::string> candidates(std::string const& parameter, std::vector<int64_t> const& exits) {
  std::vector<std::string> found;
  for (auto const& [now, before] : whole_model)
    if (parameter == now) found.emplace_back(before);
  constexpr std::string_view layers = "model.layers.", exit_norms = "model.exit_norms.";
  if (parameter.starts_with(exit_norms)) found.push_back("exit" + parameter.substr(exit_norms.size(), 1) + ".norm");
  if (!parameter.starts_with(layers)) return found;
  size_t const dot = parameter.find('.', layers.size());
  std::string const number = parameter.substr(layers.size(), dot - layers.size()), rest = parameter.substr(dot + 1);
  for (auto const& [now, before] : of_block)
    if (rest == now) found.insert(found.end(), {"layer" + number + "." + before, "layer" + number + ".block." + before});
  for (auto const& [now, before] : of_router)
    if (rest == now) found.push_back("layer" + number + "." + before);
  for (size_t exit = 0; exit < exits.size(); ++exit)
    for (auto const& [now, before] : of_router)
      if (rest == now && number == std::to_string(exits[exit])) found.push_back("exit" + std::to_string(exit) + "." + before);
  for (char const* scale : {"factor", "weight", "bias"})
    if (rest == std::string("scale.") + scale) found.push_back("scale" + number + "." + scale);
  return found;
}

}  // namespace

std::string name_before(std::string const& name, SafetensorsFile const& file, std::vector<int64_t> const& exits) {
  for (char const* moment : {".exp_avg.", ".exp_avg_sq."}) {
    size_t const at = name.find(moment);
    if (at == std::string::npos) continue;
    size_t const begin = at + std::string_view(moment).size();
    for (std::string const& old : candidates(name.substr(begin), exits))
      if (file.find(name.substr(0, begin) + old)) return name.substr(0, begin) + old;
  }
  return "";
}

}  // namespace isobath
