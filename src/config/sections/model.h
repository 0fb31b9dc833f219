#pragma once
// `model`: sizes and kinds of layers.

#include <cstdint>

#include "config/choice.h"

namespace isobath {

enum class MlpKind { swiglu, gelu };
template <>
struct ChoiceNames<MlpKind> {
  static constexpr std::array names{"swiglu", "gelu"};
};

struct ModelConfig {
  int64_t layers = 4;
  int64_t width = 64;
  int64_t heads = 4;
  int64_t kv_heads = 0;  // 0: auto
  Choice<MlpKind> mlp = MlpKind::swiglu;
  int64_t mlp_width = 0;  // 0: auto
  int64_t context = 128;
  bool tie_embeddings = true;
  double rope_theta = 10000;
  double norm_eps = 1e-5;
  double init_std = 0;  // 0: auto
  bool qk_norm = false;
};

// Values that `auto` stands for.
int64_t resolved_kv_heads(ModelConfig const&);   // heads
int64_t resolved_mlp_width(ModelConfig const&);  // swiglu: 8/3 width, gelu: 4 width, rounded up to a multiple of 8
double resolved_init_std(ModelConfig const&);    // 0.5 / sqrt(width)

}  // namespace isobath
