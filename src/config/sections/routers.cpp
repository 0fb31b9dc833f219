#include "config/sections/routers.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace isobath {

std::vector<RouterKind> const& router_kinds() {
  using enum RouterKind::Dimension;
  static std::vector<RouterKind> const kinds{
      {"linear", {{"router.weight", {width}}}, /*takes_input=*/true},
      {"mlp", {{"router.up.weight", {hidden, width}}, {"router.down.weight", {hidden}}}, /*takes_input=*/true},
      {"cosine", {{"router.weight", {width}}}},
      {"random", {}, /*takes_input=*/false, /*random=*/true},
      {"position", {{"router.position.weight", {context}}}},
      {"token", {{"router.token.weight", {vocab}}}},
      {"norm", {}},
  };
  return kinds;
}

bool RouterKind::has_hidden_layer() const {
  return std::any_of(parameters.begin(), parameters.end(), [](Parameter const& parameter) {
    return std::find(parameter.shape.begin(), parameter.shape.end(), hidden) != parameter.shape.end();
  });
}

RouterKind const& router_kind(std::string const& name) {
  for (RouterKind const& kind : router_kinds())
    if (name == kind.name) return kind;
  throw Error(ExitCode::config, "depth.router '" + name + "' is none of the routers");
}

std::vector<RouterParameter> router_parameters(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size) {
  std::vector<RouterParameter> parameters;
  for (RouterKind::Parameter const& declared : router_kind(depth.router).parameters) {
    RouterParameter& parameter = parameters.emplace_back();
    parameter.name = declared.name;
    for (RouterKind::Dimension const dimension : declared.shape) {
      int64_t const sizes[] = {model.width, resolved_router_width(model, depth), model.context, vocab_size};
      parameter.shape.push_back(sizes[dimension]);
      parameter.table = dimension == RouterKind::context || dimension == RouterKind::vocab;
    }
    // A table's scores start small, as a linear router's do, whose input starts small.
    parameter.init_std = parameter.table ? 0.1 : 1 / std::sqrt(static_cast<double>(parameter.shape.back()));
  }
  if (depth.router_init == RouterInit::zero && !parameters.empty()) parameters.back().init_std = 0;
  return parameters;
}

}  // namespace isobath
