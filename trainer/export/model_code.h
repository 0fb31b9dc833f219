#pragma once
// Models that no class of transformers computes: what their folders have instead of its name. Python code, put together from the files of
// trainer/export/code, and the keys of config.json that the code reads. Uses no LibTorch.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "config/sections/depth.h"
#include "config/sections/model.h"

namespace isobath {

struct ModelCode {
  // Python's module names, both with a hash of all the code: transformers 4 keeps code of equally named folders in one place, and both
  // versions find the class of a model by the class of its configuration, so that each kind of depth needs a configuration of its own.
  std::string configuration, modeling;
  std::string configuration_text, modeling_text;
};

// kind: a depth.kind. The code holds what this kind needs and nothing of the others.
ModelCode model_code(std::string const& kind);

// Keys of config.json, `auto_map` among them. Every `auto` of model and depth must be resolved.
nlohmann::ordered_json code_keys(ModelConfig const& model, DepthConfig const& depth, ModelCode const& code);

// Throws Error(config) for a model that the code does not compute.
void check_code_covers(DepthConfig const& depth);

// Whether this tensor decides which tokens run: such a tensor is stored in F32 whatever the others are stored in.
bool decides_routing(std::string const& tensor);

}  // namespace isobath
