#include "format/llama_cpp_names.h"

#include <string_view>
#include <utility>

namespace isobath {
namespace {

constexpr std::pair<std::string_view, std::string_view> of_model[] = {
    {"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};
constexpr std::pair<std::string_view, std::string_view> of_layer[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"}};
constexpr std::string_view layers = "model.layers.", blocks = "blk.";

// Looks `name` up in one column of a table. Its end (".weight", ".bias") stays.
template <typename Table>
std::string translate(Table const& table, std::string_view name, bool to_llama_cpp) {
  size_t const end = name.rfind('.');
  if (end == std::string_view::npos) return "";
  for (auto const& [here, there] : table)
    if (name.substr(0, end) == (to_llama_cpp ? here : there))
      return std::string(to_llama_cpp ? there : here) + std::string(name.substr(end));
  return "";
}

std::string translate(std::string const& name, bool to_llama_cpp) {
  std::string_view const from = to_llama_cpp ? layers : blocks, to = to_llama_cpp ? blocks : layers;
  if (!name.starts_with(from)) return translate(of_model, name, to_llama_cpp);
  size_t const dot = name.find('.', from.size());
  if (dot == std::string::npos) return "";
  std::string const rest = translate(of_layer, std::string_view(name).substr(dot + 1), to_llama_cpp);
  return rest.empty() ? "" : std::string(to) + name.substr(from.size(), dot + 1 - from.size()) + rest;
}

}  // namespace

std::string llama_cpp_name(std::string const& hugging_face) { return translate(hugging_face, true); }
std::string hugging_face_name(std::string const& llama_cpp) { return translate(llama_cpp, false); }

}  // namespace isobath
