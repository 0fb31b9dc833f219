#include "model/ledger/ledger.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "config/routers.h"
#include "core/error.h"
#include "model/depth/capacity.h"
#include "model/depth/nested/branches.h"

namespace isobath {
namespace {

// Weights of the linear maps of one block's halves: what a row is multiplied with.
int64_t attention_weights(ModelConfig const& model) {
  int64_t const D = model.width, H = model.heads, G = model.kv_heads, E = D / H;
  return D * (H + 2 * G) * E + H * E * D;
}

int64_t mlp_weights(ModelConfig const& model) { return (model.mlp == "swiglu" ? 3 : 2) * model.width * resolved_mlp_width(model); }

// Of one routed layer's skip path.
int64_t skip_weights(ModelConfig const& model, DepthConfig const& depth) {
  if (depth.kind != "mod" || depth.skip_path == "identity") return 0;
  int64_t const D = model.width;
  return depth.skip_path == "linear" ? D * D : 2 * D * resolved_skip_rank(model, depth);
}

// Weights of a nested model's depth network, without biases.
int64_t gate_weights(ModelConfig const& model, DepthConfig const& depth) {
  if (depth.kind != "nested" || is_expert_choice(depth) || depth.router == "random") return 0;
  int64_t const D = model.width, H = resolved_router_width(model, depth), n = static_cast<int64_t>(depth.exits.size()) + 1;
  return depth.router == "mlp" ? D * H + H * n : D * n;
}

int64_t count_routers(ModelConfig const& model, DepthConfig const& depth) {
  if (!looks_ahead(depth)) return 0;
  return static_cast<int64_t>(is_expert_choice(depth) ? depth.exits.size() : routed_layers(model, depth).size());
}

int64_t elements(RouterParameter const& parameter) {
  int64_t count = 1;
  for (int64_t const size : parameter.shape) count *= size;
  return count;
}

// What one step takes.
int64_t in_64_bits(Int128 count, char const* what, int64_t tokens) {
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  if (count <= most) return static_cast<int64_t>(count);
  throw Error(ExitCode::config, "one step over " + std::to_string(tokens) + " tokens takes " + to_text(count) + " " + what + "; at most " +
                                    std::to_string(most) + " can be counted: make train.batch_tokens or the model smaller");
}

}  // namespace

bool looks_ahead(DepthConfig const& depth) { return depth.kind == "mod" || is_expert_choice(depth); }

bool has_router(DepthConfig const& depth) { return looks_ahead(depth) && !router_kind(depth.router).parameters.empty(); }

bool has_predictor(DepthConfig const& depth) { return looks_ahead(depth) && depth.router != "random" && depth.causal == "predictor"; }

bool is_routed(DepthConfig const& depth, int64_t layer) {
  if (depth.kind == "scaled") return true;
  if (depth.kind == "nested") return !depth.exits.empty() && layer >= depth.exits.front();
  return depth.kind == "mod" && layer >= depth.offset && (layer - depth.offset) % depth.stride == 0;
}

std::vector<int64_t> routed_layers(ModelConfig const& model, DepthConfig const& depth) {
  std::vector<int64_t> layers;
  for (int64_t layer = 0; layer < model.layers; ++layer)
    if (is_routed(depth, layer)) layers.push_back(layer);
  return layers;
}

int64_t rows_of_capacity(double capacity, int64_t length) {
  if (capacity == 0) return 0;  // a layer that is gone
  // 0.29 * 100 is 28.999999999999996 in doubles; a person means 29.
  auto const rows = static_cast<int64_t>(std::floor(capacity * static_cast<double>(length) + 1e-9));
  return std::clamp<int64_t>(rows, 1, length);
}

int64_t causal_pairs(int64_t rows) { return rows * (rows + 1) / 2; }

Ledger make_ledger(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size) {
  int64_t const D = model.width, E = D / model.heads;
  Ledger ledger;
  ledger.attention_row = 2 * attention_weights(model);
  ledger.kv_row = 2 * D * 2 * model.kv_heads * E;
  ledger.mlp_row = 2 * mlp_weights(model);
  ledger.skip_row = 2 * skip_weights(model, depth);
  ledger.routes_attention = depth.target != "mlp";
  ledger.routes_mlp = depth.target != "attention";
  ledger.keeps_kv = ledger.routes_attention && depth.skipped_kv == "keep";
  ledger.pair = 2 * 2 * model.heads * E;
  if (has_router(depth)) {
    for (RouterParameter const& parameter : router_parameters(model, depth, vocab_size))
      if (!parameter.table) ledger.router_row += 2 * elements(parameter);
  }
  if (has_predictor(depth)) {
    int64_t const P = resolved_predictor_width(model, depth);
    ledger.predictor_row = 2 * (D * P + P);
  }
  ledger.gate_row = 2 * gate_weights(model, depth);
  ledger.gate_by_sequence = depth.choice == "sequence";
  ledger.head_row = 2 * D * vocab_size;
  if (depth.kind == "nested" && depth.gate_training == "hindsight") ledger.training_heads = static_cast<int64_t>(depth.exits.size()) + 1;
  ledger.layers = model.layers;
  ledger.routed_layers = static_cast<int64_t>(routed_layers(model, depth).size());
  ledger.dense_layers = ledger.layers - ledger.routed_layers;
  ledger.routers = count_routers(model, depth);
  if (depth.kind == "scaled" && depth.scale == "token") {
    ledger.router_row = 2 * D;
    ledger.routers = model.layers;
  }
  return ledger;
}

Int128 Ledger::forward(int64_t sequences, int64_t length, std::vector<RoutedWork> const& routed) const {
  if (static_cast<int64_t>(routed.size()) != routed_layers)
    throw Error(ExitCode::other, "[ledger] work of " + std::to_string(routed.size()) + " routed layers given, the model has " +
                                     std::to_string(routed_layers));
  Int128 const tokens = Int128(sequences) * length;
  Int128 flops = tokens * (head_row + routers * (router_row + predictor_row));
  flops += (gate_by_sequence ? Int128(sequences) : tokens) * gate_row;
  auto const add = [&](Layer const& layer, int64_t count) { flops += count * (layer.linear + layer.attention); };
  add(dense_layer(sequences, length), dense_layers);
  for (RoutedWork const& work : routed) add(routed_layer(sequences, length, work), 1);
  return flops;
}

Int128 Ledger::train(int64_t sequences, int64_t length, std::vector<RoutedWork> const& routed) const {
  return 3 * (forward(sequences, length, routed) + Int128(sequences) * length * (training_heads - 1) * head_row);
}

Ledger::Layer Ledger::dense_layer(int64_t sequences, int64_t length) const {
  return {Int128(sequences) * length * (attention_row + mlp_row), Int128(sequences) * causal_pairs(length) * pair};
}

Ledger::Layer Ledger::routed_layer(int64_t sequences, int64_t length, RoutedWork const& work) const {
  Int128 const tokens = Int128(sequences) * length, rows = work.rows, pairs = work.pairs;
  Int128 const linear = (routes_attention ? rows : tokens) * attention_row + (routes_mlp ? rows : tokens) * mlp_row +
                        (tokens - rows) * (skip_row + (keeps_kv ? kv_row : 0));
  return {linear, (routes_attention ? pairs : Int128(sequences) * causal_pairs(length)) * pair};
}

int64_t flops_at_once(Int128 flops, int64_t tokens) { return in_64_bits(flops, "FLOPs", tokens); }

std::vector<RoutedWork> planned_work(DepthConfig const& depth, std::vector<double> const& capacities, int64_t sequences, int64_t length) {
  bool const keeps_kv = depth.skipped_kv == "keep" && depth.target != "mlp";
  std::vector<RoutedWork> work;
  for (double const capacity : capacities) {
    int64_t const K = rows_of_capacity(capacity, length);
    Int128 const pairs = Int128(sequences) * (keeps_kv ? K * (length + 1) / 2 : causal_pairs(K));
    work.push_back({sequences * K, in_64_bits(pairs, "query-key pairs", sequences * length)});
  }
  return work;
}

std::vector<RoutedWork> planned_work(ModelConfig const& model, DepthConfig const& depth, int64_t sequences, int64_t length) {
  return planned_work(depth, layer_capacities(model, depth), sequences, length);
}

int64_t planned_forward_flops(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, int64_t sequences, int64_t length) {
  Ledger const ledger = make_ledger(model, depth, vocab_size);
  return flops_at_once(ledger.forward(sequences, length, planned_work(model, depth, sequences, length)), sequences * length);
}

int64_t planned_train_flops(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, int64_t sequences, int64_t length) {
  Ledger const ledger = make_ledger(model, depth, vocab_size);
  std::vector<RoutedWork> const work = planned_work(depth, training_capacities(model, depth), sequences, length);
  return flops_at_once(ledger.train(sequences, length, work), sequences * length);
}

Parameters count_parameters(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size) {
  int64_t const D = model.width, E = D / model.heads;
  auto const routed = static_cast<int64_t>(routed_layers(model, depth).size()), routers = count_routers(model, depth);
  int64_t stored_layers = 0;
  for (int64_t layer = 0; layer < model.layers; ++layer) stored_layers += layer_of_weights(depth, layer) == layer;
  Parameters count;
  count.embedding = vocab_size * D * (model.tie_embeddings ? 1 : 2);
  count.blocks =
      stored_layers * (attention_weights(model) + mlp_weights(model) + 2 * D + (model.qk_norm ? 2 * E : 0)) + D;  // the final norm too
  count.blocks += routed * skip_weights(model, depth);
  if (depth.kind == "nested" && depth.exit_norms) count.blocks += static_cast<int64_t>(depth.exits.size()) * D;
  if (has_router(depth)) {
    for (RouterParameter const& parameter : router_parameters(model, depth, vocab_size)) count.routers += routers * elements(parameter);
  }
  if (has_predictor(depth)) {
    int64_t const P = resolved_predictor_width(model, depth);
    count.predictors = routers * (D * P + P + P + 1);
  }
  if (int64_t const weights = gate_weights(model, depth)) count.routers += weights + static_cast<int64_t>(depth.exits.size()) + 1;
  if (depth.kind == "scaled") count.routers += model.layers * (depth.scale == "token" ? D + 1 : depth.scale == "channel" ? D : 1);
  count.total = count.embedding + count.blocks + count.routers + count.predictors;
  return count;
}

double kv_bytes_per_token(ModelConfig const& model, DepthConfig const& depth, int64_t bytes_per_value) {
  std::vector<double> shares = layer_capacities(model, depth);
  for (double& share : shares) share = static_cast<double>(rows_of_capacity(share, model.context)) / static_cast<double>(model.context);
  return kv_bytes_per_token(model, depth, shares, bytes_per_value);
}

double kv_bytes_per_token(ModelConfig const& model, DepthConfig const& depth, std::vector<double> const& shares, int64_t bytes_per_value) {
  double layers = static_cast<double>(model.layers);
  if (depth.target != "mlp" && depth.skipped_kv != "keep") {
    for (double const share : shares) layers -= 1 - share;  // skipped tokens leave no keys behind
  }
  int64_t const per_layer = 2 * model.kv_heads * (model.width / model.heads) * bytes_per_value;
  return layers * static_cast<double>(per_layer);
}

}  // namespace isobath
