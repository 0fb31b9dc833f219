#include "config/config.h"

#include <algorithm>
#include <cmath>

namespace isobath {

int64_t bytes_per_value(Config const& config) { return config.precision == Precision::bf16 ? 2 : 4; }

int64_t resolved_mlp_width(ModelConfig const& model) {
  if (model.mlp_width > 0) return model.mlp_width;
  // SwiGLU has three matrices where GELU has two: 8/3 of the width keeps their sizes equal.
  int64_t const width = model.mlp == MlpKind::swiglu ? (8 * model.width + 2) / 3 : 4 * model.width;
  return (width + 7) / 8 * 8;
}

double resolved_init_std(ModelConfig const& model) {
  return model.init_std > 0 ? model.init_std : 0.5 / std::sqrt(static_cast<double>(model.width));
}

int64_t resolved_skip_rank(ModelConfig const& model, DepthConfig const& depth) {
  return depth.skip_rank > 0 ? depth.skip_rank : std::max<int64_t>(1, model.width / 16);
}

int64_t resolved_router_width(ModelConfig const& model, DepthConfig const& depth) {
  return depth.router_width > 0 ? depth.router_width : std::max<int64_t>(8, model.width / 4);
}

int64_t resolved_decide_after(DepthConfig const& depth) {
  return depth.decide_after > 0 || depth.exits.empty() ? depth.decide_after : depth.exits.front();
}

int64_t resolved_prefix(ModelConfig const& model, DepthConfig const& depth) {
  return depth.prefix > 0 ? depth.prefix : std::max<int64_t>(1, model.context / 8);
}

int64_t resolved_predictor_width(ModelConfig const& model, DepthConfig const& depth) {
  return depth.predictor_width > 0 ? depth.predictor_width : std::max<int64_t>(8, model.width / 4);
}

}  // namespace isobath
