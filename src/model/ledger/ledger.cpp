#include "model/ledger/ledger.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "model/depth/plan.h"

namespace isobath {
namespace {

// Number of weights in the linear maps of one block's halves.
int64_t attention_weights(ModelConfig const& model) {
  int64_t const D = model.width, H = model.heads, G = resolved_kv_heads(model), E = D / H;
  return D * (H + 2 * G) * E + H * E * D;
}

int64_t mlp_weights(ModelConfig const& model) { return (model.mlp == MlpKind::swiglu ? 3 : 2) * model.width * resolved_mlp_width(model); }

LowRankCost low_rank_cost(ModelConfig const& model, LoraConfig const& lora) {
  int64_t const D = model.width, X = 2 * resolved_kv_heads(model) * (D / model.heads), F = resolved_mlp_width(model);
  auto const map = [&](int64_t inputs, int64_t outputs) { return 2 * lora.rank * (inputs + outputs); };
  LowRankCost cost;
  if (lora.has("attention")) cost = {map(D, D + X) + map(D, D), map(D, X), 0};
  if (lora.has("mlp")) cost.mlp_row = map(D, (model.mlp == MlpKind::swiglu ? 2 : 1) * F) + map(F, D);
  return cost;
}

// Returns a count of one step in 64 bits. Throws Error(config) when it does not fit.
int64_t in_64_bits(Int128 count, char const* what, int64_t tokens) {
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  if (count <= most) return static_cast<int64_t>(count);
  throw Error(ExitCode::config, "one step over " + std::to_string(tokens) + " tokens takes " + to_text(count) + " " + what + "; at most " +
                                    std::to_string(most) + " can be counted: make train.batch_tokens or the model smaller");
}

}  // namespace

std::vector<int64_t> routed_layers(ModelConfig const& model, DepthConfig const& depth) { return plan_depth(model, depth)->routed_layers(); }

int64_t rows_of_capacity(double capacity, int64_t length) {
  if (capacity == 0) return 0;  // a dropped layer
  // 0.29 * 100 is 28.999999999999996 in doubles; a person means 29.
  auto const rows = static_cast<int64_t>(std::floor(capacity * static_cast<double>(length) + 1e-9));
  return std::clamp<int64_t>(rows, 1, length);
}

int64_t causal_pairs(int64_t rows) { return rows * (rows + 1) / 2; }

TrainingSetup training_setup_of(TrainConfig const& train) {
  auto const has = [&](char const* part) { return std::find(train.freeze.begin(), train.freeze.end(), part) != train.freeze.end(); };
  if (!train.distill.from.empty() && !train.distill.teacher)
    throw Error(ExitCode::other, "[ledger] the sizes of the model of train.distill.from were not read");
  return {{has("blocks") || train.lora.has("attention"), has("blocks") || train.lora.has("mlp"), has("embeddings")},
          train.distill.teacher,
          train.lora};
}

Ledger make_ledger(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, TrainingSetup const& training) {
  auto const plan = plan_depth(model, depth);
  int64_t const D = model.width, E = D / model.heads;
  Ledger ledger;
  ledger.frozen = training.frozen;
  ledger.attention_row = 2 * attention_weights(model);
  ledger.kv_row = 2 * D * 2 * resolved_kv_heads(model) * E;
  ledger.mlp_row = 2 * mlp_weights(model);
  ledger.pair = int64_t{4} * model.heads * E;
  ledger.head_row = 2 * D * vocab_size;
  ledger.layers = model.layers;
  ledger.routed_layers = static_cast<int64_t>(plan->routed_layers().size());
  ledger.dense_layers = ledger.layers - ledger.routed_layers;
  plan->add_costs(ledger, vocab_size);
  ledger.low_rank = low_rank_cost(model, training.lora);
  if (training.teacher) {
    Ledger const teacher = make_ledger(*training.teacher, DepthConfig{}, vocab_size);
    ledger.teacher_row = teacher.head_row + teacher.layers * (teacher.attention_row + teacher.mlp_row);
    ledger.teacher_pair = teacher.layers * teacher.pair;
  }
  return ledger;
}

Int128 Ledger::forward(int64_t sequences, int64_t length, std::vector<RoutedWork> const& routed, Pairs pairs) const {
  if (static_cast<int64_t>(routed.size()) != routed_layers)
    throw Error(ExitCode::other, "[ledger] work of " + std::to_string(routed.size()) + " routed layers given, the model has " +
                                     std::to_string(routed_layers));
  Int128 const tokens = Int128(sequences) * length;
  Int128 flops = tokens * (head_row + routers * (router_row + predictor_row));
  flops += (gate_by_sequence ? Int128(sequences) : tokens) * gate_row;
  auto const add = [&](Layer const& layer, int64_t count) { flops += count * (layer.linear + layer.attention); };
  add(dense_layer(sequences, length, pairs), dense_layers);
  for (RoutedWork const& work : routed) add(routed_layer(sequences, length, work, pairs), 1);
  return flops;
}

Int128 Ledger::train(int64_t sequences, int64_t length, std::vector<RoutedWork> const& routed, Pairs pairs) const {
  Int128 const tokens = Int128(sequences) * length, heads = tokens * training_heads * head_row;
  Int128 flops = 3 * (forward(sequences, length, routed, pairs) + heads - tokens * head_row);
  flops += tokens * teacher_row + pairs.value_or(Int128(sequences) * causal_pairs(length)) * teacher_pair;
  if (frozen.head) flops -= heads;
  LowRankCost const gradients{frozen.attention ? attention_row : 0, frozen.attention ? kv_row : 0, frozen.mlp ? mlp_row : 0};
  return flops - of_linear_maps(gradients, tokens, routed) + 3 * of_linear_maps(low_rank, tokens, routed);
}

Int128 Ledger::of_linear_maps(LowRankCost const& per_row, Int128 tokens, std::vector<RoutedWork> const& routed) const {
  Int128 flops = dense_layers * tokens * (per_row.attention_row + per_row.mlp_row);
  for (RoutedWork const& work : routed) {
    flops += (routes_attention ? Int128(work.rows) : tokens) * per_row.attention_row;
    flops += (routes_mlp ? Int128(work.rows) : tokens) * per_row.mlp_row;
    if (keeps_kv) flops += (tokens - work.rows) * per_row.kv_row;
  }
  return flops;
}

Int128 Ledger::train_pairs(Int128 pairs) const {
  return pairs * (3 * (dense_layers + (routes_attention ? 0 : routed_layers)) * pair + teacher_pair);
}

Ledger::Layer Ledger::dense_layer(int64_t sequences, int64_t length, Pairs pairs) const {
  return {Int128(sequences) * length * (attention_row + mlp_row), pairs.value_or(Int128(sequences) * causal_pairs(length)) * pair};
}

Ledger::Layer Ledger::routed_layer(int64_t sequences, int64_t length, RoutedWork const& work, Pairs pairs) const {
  Int128 const tokens = Int128(sequences) * length, rows = work.rows;
  Int128 const linear = (routes_attention ? rows : tokens) * attention_row + (routes_mlp ? rows : tokens) * mlp_row +
                        (tokens - rows) * (skip_row + (keeps_kv ? kv_row : 0));
  return {linear, routes_attention ? Int128(work.pairs) * pair : dense_layer(sequences, length, pairs).attention};
}

int64_t flops_in_64_bits(Int128 flops, int64_t tokens) { return in_64_bits(flops, "FLOPs", tokens); }

std::vector<RoutedWork> Ledger::planned_work(std::vector<double> const& capacities, int64_t sequences, int64_t length) const {
  std::vector<RoutedWork> work;
  for (double const capacity : capacities) {
    int64_t const K = rows_of_capacity(capacity, length);
    Int128 const pairs = Int128(sequences) * (keeps_kv ? K * (length + 1) / 2 : causal_pairs(K));
    work.push_back({sequences * K, in_64_bits(pairs, "query-key pairs", sequences * length)});
  }
  return work;
}

std::vector<RoutedWork> planned_work(ModelConfig const& model, DepthConfig const& depth, int64_t sequences, int64_t length) {
  return make_ledger(model, depth, 1).planned_work(plan_depth(model, depth)->capacities(), sequences, length);
}

int64_t planned_forward_flops(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, int64_t sequences, int64_t length) {
  Ledger const ledger = make_ledger(model, depth, vocab_size);
  return flops_in_64_bits(ledger.forward(sequences, length, planned_work(model, depth, sequences, length)), sequences * length);
}

int64_t planned_train_flops(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, int64_t sequences, int64_t length) {
  return planned_train_flops(make_ledger(model, depth, vocab_size), *plan_depth(model, depth), sequences, length);
}

int64_t planned_train_flops(Ledger const& ledger, DepthPlan const& plan, int64_t sequences, int64_t length) {
  std::vector<RoutedWork> const work = ledger.planned_work(plan.training_capacities(), sequences, length);
  return flops_in_64_bits(ledger.train(sequences, length, work), sequences * length);
}

Parameters count_parameters(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size) {
  auto const plan = plan_depth(model, depth);
  int64_t const D = model.width, E = D / model.heads;
  int64_t stored_layers = 0;
  for (int64_t layer = 0; layer < model.layers; ++layer) stored_layers += plan->layer_of_weights(layer) == layer;
  Parameters count;
  count.embedding = vocab_size * D * (model.tie_embeddings ? 1 : 2);
  count.blocks =
      stored_layers * (attention_weights(model) + mlp_weights(model) + 2 * D + (model.qk_norm ? 2 * E : 0)) + D;  // the final norm too
  plan->add_parameters(count, vocab_size);
  count.total = count.embedding + count.blocks + count.routers + count.predictors;
  return count;
}

double kv_bytes_per_token(ModelConfig const& model, DepthConfig const& depth, int64_t bytes_per_value) {
  std::vector<double> shares = plan_depth(model, depth)->capacities();
  for (double& share : shares) share = static_cast<double>(rows_of_capacity(share, model.context)) / static_cast<double>(model.context);
  return kv_bytes_per_token(model, depth, shares, bytes_per_value);
}

double kv_bytes_per_token(ModelConfig const& model, DepthConfig const& depth, std::vector<double> const& shares, int64_t bytes_per_value) {
  double layers = static_cast<double>(model.layers);
  Ledger const ledger = make_ledger(model, depth, 1);
  if (ledger.routes_attention && !ledger.keeps_kv) {
    for (double const share : shares) layers -= 1 - share;  // skipped tokens store no keys and values
  }
  int64_t const per_layer = 2 * resolved_kv_heads(model) * (model.width / model.heads) * bytes_per_value;
  return layers * static_cast<double>(per_layer);
}

}  // namespace isobath
