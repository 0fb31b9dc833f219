#include "config/sections/model.h"

#include <cmath>

#include "config/row.h"
#include "config/sections/sections.h"

namespace isobath {

int64_t resolved_kv_heads(ModelConfig const& model) { return model.kv_heads > 0 ? model.kv_heads : model.heads; }

int64_t resolved_mlp_width(ModelConfig const& model) {
  if (model.mlp_width > 0) return model.mlp_width;
  // SwiGLU has three matrices where GELU has two: 8/3 of the width keeps their sizes equal.
  int64_t const width = model.mlp == MlpKind::swiglu ? (8 * model.width + 2) / 3 : 4 * model.width;
  return (width + 7) / 8 * 8;
}

double resolved_init_std(ModelConfig const& model) {
  return model.init_std > 0 ? model.init_std : 0.5 / std::sqrt(static_cast<double>(model.width));
}

std::vector<ConfigField> model_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(model.layers), integer, identity, "Blocks.").between(1, 4096),
      R(KEY(model.width), integer, identity, "Width of the residual stream.").between(1, 1 << 20),
      R(KEY(model.heads), integer, identity, "Attention heads; divides width into an even head size.").between(1, 1 << 16),
      R(KEY(model.kv_heads), integer, identity, "Key and value heads, a divisor of heads; auto: as many as heads.")
          .between(1, 1 << 16)
          .zero_is("auto"),
      R(KEY(model.mlp), choice, identity, "Kind of MLP. swiglu: down(silu(gate) up), three matrices; gelu: down(gelu(up)), two."),
      R(KEY(model.mlp_width), integer, identity,
        "Hidden width of the MLP; auto: 8/3 of the width (swiglu) or 4 times (gelu), rounded up to 8.")
          .between(1, 1 << 22)
          .zero_is("auto"),
      R(KEY(model.context), count, identity, "Tokens in a training sequence.").between(1, 1 << 24),
      R(KEY(model.tie_embeddings), boolean, identity, "The output head shares the embedding's weights."),
      R(KEY(model.rope_theta), real, identity, "Base of the rotary frequencies.").above(0),
      R(KEY(model.norm_eps), real, identity, "Added to the mean square in RMSNorm.").above(0).below(1),
      R(KEY(model.init_std), real, identity, "Standard deviation of initial weights; auto: 0.5 / sqrt(width).")
          .above(0)
          .below(10)
          .zero_is("auto"),
      R(KEY(model.qk_norm), boolean, identity, "RMSNorm on queries and keys."),
  };
}

void check_model(Config const& config, std::vector<Contradiction>& found) {
  ModelConfig const& model = config.model;
  if (model.width % model.heads != 0) {
    found.push_back(
        {{"model.heads", "model.width"},
         "model.heads (" + std::to_string(model.heads) + ") does not divide model.width (" + std::to_string(model.width) + ")"});
  } else if (model.width / model.heads % 2 != 0) {
    found.push_back(
        {{"model.heads", "model.width"},
         "model.width / model.heads is " + std::to_string(model.width / model.heads) + "; rotary embeddings need an even head size"});
  }
  if (model.heads % resolved_kv_heads(model) != 0) {
    found.push_back(
        {{"model.kv_heads", "model.heads"},
         "model.kv_heads (" + std::to_string(model.kv_heads) + ") does not divide model.heads (" + std::to_string(model.heads) + ")"});
  }
}

}  // namespace isobath
