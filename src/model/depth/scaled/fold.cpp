#include "model/depth/scaled/fold.h"

#include <ATen/TensorOperators.h>

#include <map>

#include "core/error.h"
#include "model/depth/scaled/module.h"

namespace isobath {

DenseModel fold_factors(LanguageModel const& model) {
  DepthConfig const& depth = model.depth_config();
  auto const refuse = [](std::string const& reason) {
    throw Error(ExitCode::config, "factors cannot be folded into the weights: " + reason);
  };
  auto const* scaled = dynamic_cast<ScaledModule const*>(&model.depth());
  if (!scaled) refuse("depth.kind is " + depth.kind + ", not scaled");
  if (scaled->by_token) refuse("with depth.scale token they differ from token to token");
  if (!scaled->is_hard())
    refuse("the model is from before depth.harden_after (" + std::to_string(static_cast<int>(100 * depth.harden_after)) +
           " % of the run), when no layer was skipped yet");

  std::map<std::string, at::Tensor> factors;
  DenseModel dense{model.model_config(), {}};
  dense.model.layers = 0;
  NamedTensors const stored = export_weights(model);
  for (auto const& [name, tensor] : stored)
    if (name.ends_with(".scale.factor")) factors[name.substr(0, name.size() - std::string("scale.factor").size())] = tensor;
  std::map<std::string, std::string> kept;  // "model.layers.3." -> "model.layers.2."
  for (int64_t layer = 0; layer < model.model_config().layers; ++layer) {
    std::string const prefix = "model.layers." + std::to_string(layer) + ".";
    if (factors.at(prefix).ne(0).any().item<bool>()) kept[prefix] = "model.layers." + std::to_string(dense.model.layers++) + ".";
  }
  for (auto const& [name, tensor] : stored) {
    if (name.starts_with("model.depth_scale.") || name.ends_with(".scale.factor")) continue;
    if (!name.starts_with("model.layers.")) {
      dense.weights.emplace_back(name, tensor);
      continue;
    }
    std::string const prefix = name.substr(0, name.find('.', std::string("model.layers.").size()) + 1), rest = name.substr(prefix.size());
    if (!kept.contains(prefix)) continue;
    bool const out = rest == "self_attn.o_proj.weight" || rest == "mlp.down_proj.weight";  // [D, ...]: one row per output channel
    dense.weights.emplace_back(kept.at(prefix) + rest, out ? tensor * factors.at(prefix).unsqueeze(1) : tensor);
  }
  return dense;
}

}  // namespace isobath
