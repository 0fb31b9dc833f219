#include "model/depth/kind.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>

#include <map>
#include <optional>

#include "core/error.h"
#include "core/random.h"
#include "model/depth/dense/module.h"
#include "model/depth/mod/module.h"
#include "model/depth/nested/module.h"
#include "model/depth/scaled/module.h"
#include "nn/attention/key_ranges.h"
#include "nn/ops/ops.h"
#include "nn/router/routing_scope.h"

namespace isobath {

namespace {

template <class Module>
std::shared_ptr<DepthModule> make(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size) {
  return std::make_shared<Module>(model, depth, vocab_size);
}

std::map<std::string, DepthModuleFactory>& factories() {
  static std::map<std::string, DepthModuleFactory> table{
      {"dense", make<DenseModule>},
      {"mod", make<ModModule>},
      {"nested", make<NestedModule>},
      {"scaled", make<ScaledModule>},
  };
  return table;
}

// Counts pairs of a token that ran and a key that it attends to: the keys of the tokens that ran (keeps_kv: of all tokens) from place
// from_BT of the sequence (undefined: its first) up to the token itself.
at::Tensor count_pairs(at::Tensor const& executed_BT, bool keeps_kv, at::Tensor const& from_BT) {
  at::Tensor const keys_BT = (keeps_kv ? at::ones_like(executed_BT) : executed_BT).cumsum(1);  // keys up to and including this place
  if (!from_BT.defined()) return executed_BT.mul(keys_BT).sum();
  return executed_BT.mul(keys_BT - at::constant_pad_nd(keys_BT, {1, 0}).gather(1, from_BT)).sum();
}

// One layer's row of ModelOutput::routing_NC: int64 [routing_columns].
at::Tensor count_routing(RoutedLayer const& layer, bool keeps_kv, at::Tensor const& from_BT) {
  return at::stack({layer.executed_BT.sum(), count_pairs(layer.executed_BT, keeps_kv, from_BT), layer.causal_BT.sum(), layer.topk_BT.sum(),
                    layer.causal_BT.logical_and(layer.topk_BT).sum()});
}

}  // namespace

at::Tensor FinalNorm::operator()(at::Tensor const& x_ND) const { return ops::rms_norm(x_ND, weight_D, eps); }

uint64_t ForwardContext::layer_noise(int64_t layer) const {
  return make_key({noise.seed, static_cast<uint64_t>(noise.step), static_cast<uint64_t>(noise.stream), static_cast<uint64_t>(layer)});
}

void DepthModule::share_budget(bool shared) {
  if (shared) throw Error(ExitCode::config, "eval.calibration_budget: model goes with depth.kind: mod");
}

void DepthModule::set_capacities(std::vector<double> const& capacities) {
  if (!capacities.empty()) throw Error(ExitCode::other, "[set_capacities] this kind of depth has no capacities");
}

std::shared_ptr<DepthModule> make_depth(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size) {
  auto const found = factories().find(depth.kind);
  if (found == factories().end()) throw Error(ExitCode::config, "depth.kind '" + depth.kind + "' has no module");
  return found->second(model, depth, vocab_size);
}

void add_depth_module(std::string const& kind, DepthModuleFactory factory) { factories()[kind] = std::move(factory); }

void report_layers(ModelOutput& output, ForwardContext const& context, int64_t layers, bool keeps_kv, std::vector<RoutedLayer> routed) {
  std::optional<RoutingScope> routing_scope;
  if (!routed.empty()) routing_scope.emplace();
  if (!context.rows.cache && !routed.empty()) {
    at::Tensor const from_BT =
        context.rows.segments_R.defined() ? ranges_among(context.rows).from_R.view({context.rows.sequences, -1}) : at::Tensor();
    std::vector<at::Tensor> counts_NC;
    for (RoutedLayer const& layer : routed) counts_NC.push_back(count_routing(layer, keeps_kv, from_BT));
    output.routing_NC = at::stack(counts_NC);
  }
  if (at::GradMode::is_enabled()) return;
  int64_t const B = context.rows.sequences, T = context.rows.longest;
  output.depth_BT = at::full({B, T}, layers - std::ssize(routed), context.tokens_N.options());
  for (RoutedLayer const& layer : routed) output.depth_BT.add_(layer.executed_BT);
  output.routed_layers = std::move(routed);
}

}  // namespace isobath
