#include "model/ledger/memory.h"

#include <algorithm>

#include "model/depth/plan.h"

namespace isobath {
namespace {

// Floats autograd keeps of one row of one block: two norms' inputs and outputs, queries, keys and values before and
// after the rotation, the attention's output, and the MLP's hidden values.
int64_t activation_floats_per_row(ModelConfig const& model) {
  int64_t const E = model.width / model.heads;
  return 6 * model.width + 2 * (model.heads + 2 * resolved_kv_heads(model)) * E +
         (model.mlp == MlpKind::swiglu ? 3 : 2) * resolved_mlp_width(model);
}

double activation_bytes(Config const& config, Ledger const& ledger, int64_t micro_batch_tokens) {
  ModelConfig const& model = config.model;
  auto const tokens = static_cast<double>(micro_batch_tokens);
  auto const T = static_cast<double>(model.context);
  double layers = static_cast<double>(ledger.dense_layers);
  for (double const capacity : plan_depth(model, config.depth)->most_capacities()) {
    double const share = static_cast<double>(rows_of_capacity(capacity, model.context)) / T;
    // Attention and MLP each keep about half of a block's values; the half that is not routed keeps those of every token.
    layers += ledger.routes_attention && ledger.routes_mlp ? share : (1 + share) / 2;
  }
  double const block_rows = tokens * layers;
  double const residual = tokens * static_cast<double>(model.width * (ledger.routed_layers + 3));
  constexpr double logits_chunk = 1 << 20;
  int64_t const bytes = bytes_per_value(config);
  return static_cast<double>(bytes) * (block_rows * static_cast<double>(activation_floats_per_row(model)) + residual + logits_chunk);
}

// fp32 weight, gradient and Adam's two moments; of frozen ones the weight alone.
double state_bytes(Parameters const& parameters, Ledger const& ledger) {
  // A linear map's FLOPs per row are twice its weights.
  auto const weights = [&](int64_t attention_row, int64_t mlp_row) { return ledger.layers * (attention_row + mlp_row) / 2; };
  int64_t const matrices = weights(ledger.frozen.attention ? ledger.attention_row : 0, ledger.frozen.mlp ? ledger.mlp_row : 0);
  int64_t const frozen = std::min(parameters.blocks, matrices) + (ledger.frozen.head ? parameters.embedding : 0);
  int64_t const updates = weights(ledger.low_rank.attention_row, ledger.low_rank.mlp_row);
  return 16.0 * static_cast<double>(parameters.total - frozen + updates) + 4.0 * static_cast<double>(frozen);
}

}  // namespace

PlannedMemory planned_memory(Config const& config, int64_t vocab_size, int64_t micro_batch_tokens) {
  Ledger const ledger = make_ledger(config.model, config.depth, vocab_size, training_setup_of(config.train));
  double state = state_bytes(count_parameters(config.model, config.depth, vocab_size), ledger);
  if (config.train.distill.teacher)
    state += 4.0 * static_cast<double>(count_parameters(*config.train.distill.teacher, DepthConfig{}, vocab_size).total);
  return {state, activation_bytes(config, ledger, micro_batch_tokens)};
}

}  // namespace isobath
