#pragma once
// Which routers there are and what each consists of: the one list that schema, checks, ledger and model read. The scores themselves are
// functions in src/nn/router/scores/, one file each.

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"

namespace isobath {

struct RouterParameter {
  std::string name;  // stored under this name, below model.layers.N.
  std::vector<int64_t> shape;
  double init_std = 0;
  bool table = false;  // looked up by an index instead of multiplied with the input
};

struct RouterKind {
  enum Dimension { width, hidden, context, vocab };
  struct Parameter {
    char const* name;
    std::vector<Dimension> shape;
  };
  char const* name;
  std::vector<Parameter> parameters;
  bool takes_input = false;  // the score depends on depth.router_input
  bool random = false;       // scores are noise: nothing to learn, nothing to predict

  bool learned() const { return !parameters.empty(); }
  bool has_hidden_layer() const;
};

std::vector<RouterKind> const& router_kinds();
RouterKind const& router_kind(std::string const& name);  // throws Error(config)

std::vector<RouterParameter> router_parameters(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size);

}  // namespace isobath
