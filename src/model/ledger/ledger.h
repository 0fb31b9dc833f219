#pragma once
// The ledger: what a model costs, in floating-point operations, parameters and bytes, before anything is allocated. No LibTorch. Convention
// (docs/experiments.md): a linear map costs 2 x its weights per row; attention counts scores and values of the keys that a query attends to
// (2 x 2 x heads x head_dim per query-key pair; planned: T(T+1)/2 pairs, the causal triangle; realised: of each document where documents
// are isolated); backward = 2 x forward; routers, predictors and the (also tied) head count; norms, activations, rotary, softmax, embedding
// look-ups and evaluation do not.

#include <cstdint>
#include <optional>
#include <vector>

#include "config/config.h"
#include "core/int128.h"

namespace isobath {

class DepthPlan;

// The work of one routed layer, planned or measured.
struct RoutedWork {
  int64_t rows = 0;   // tokens that went through the block
  int64_t pairs = 0;  // query-key pairs attended inside it
};

// Weights that training leaves as they are, so that it computes no gradients of theirs: the matrices of attentions, of MLPs, the head.
struct Frozen {
  bool attention = false, mlp = false, head = false;
};

// Forward FLOPs per row of the updates of low rank that training computes beside matrices.
struct LowRankCost {
  int64_t attention_row = 0, kv_row = 0, mlp_row = 0;  // kv_row: of attention_row, what keys and values alone take
};

// What makes training cost less or more than three forward passes.
struct TrainingSetup {
  Frozen frozen;
  std::optional<ModelConfig> teacher;  // of a distillation: a dense model that reads the same tokens
  LoraConfig lora = {};
};
TrainingSetup training_setup_of(TrainConfig const&);

struct Ledger {
  // Forward FLOPs.
  int64_t attention_row = 0;                        // linear maps of one attention, per row
  int64_t kv_row = 0;                               // of these, the keys' and values'
  int64_t mlp_row = 0;                              // of one MLP, per row
  int64_t pair = 0;                                 // attention, per query-key pair
  int64_t skip_row = 0;                             // skip path of one routed layer, per skipped row
  int64_t router_row = 0;                           // score of one token by one router
  int64_t predictor_row = 0;                        // decision of one token by one predictor
  int64_t gate_row = 0;                             // nested: one choice of the depth network
  bool gate_by_sequence = false;                    // one choice per sequence; otherwise one per token
  int64_t head_row = 0;                             // logits of one token
  int64_t training_heads = 1;                       // logits per token in training: hindsight needs the loss of every branch
  bool routes_attention = true, routes_mlp = true;  // false: that half of a routed layer runs for every token
  bool keeps_kv = false;                            // skipped tokens still give keys and values
  Frozen frozen;
  LowRankCost low_rank;
  int64_t teacher_row = 0, teacher_pair = 0;  // a teacher's whole forward pass, per token and per query-key pair of one layer
  int64_t layers = 0;
  int64_t dense_layers = 0;
  int64_t routed_layers = 0;
  int64_t routers = 0;  // one per routed layer; expert choice: per exit; `scale: token`: per layer

  // Forward FLOPs of one layer for sequences of `length` tokens, without routers and predictors.
  struct Layer {
    Int128 linear, attention;
  };
  // Query-key pairs of a layer in which every token attends. Not given: each sequence is one document.
  using Pairs = std::optional<Int128>;
  Layer dense_layer(int64_t sequences, int64_t length, Pairs pairs = {}) const;
  Layer routed_layer(int64_t sequences, int64_t length, RoutedWork const& work, Pairs pairs = {}) const;
  // Forward FLOPs of `sequences` sequences of `length` tokens. `routed` has one entry per routed layer.
  Int128 forward(int64_t sequences, int64_t length, std::vector<RoutedWork> const& routed, Pairs pairs = {}) const;
  // Work of top-k routing with one capacity per routed layer: K rows and K(K+1)/2 query-key pairs a sequence; with kept keys K(T+1)/2
  // pairs, the mean over all places that the K tokens may have.
  std::vector<RoutedWork> planned_work(std::vector<double> const& capacities, int64_t sequences, int64_t length) const;
  // What linear maps of attention, of the keys and values alone, and of MLPs take in all layers, at these forward FLOPs per row.
  Int128 of_linear_maps(LowRankCost const& per_row, Int128 tokens, std::vector<RoutedWork> const& routed) const;
  // FLOPs of training on `pairs` query-key pairs in every layer where all tokens attend.
  Int128 train_pairs(Int128 pairs) const;
  // FLOPs of training on `sequences` sequences: 3 x forward, with `training_heads` logits per token; linear maps whose weights are frozen
  // count 2 x, for the gradients of their inputs are computed all the same. Updates of low rank count 3 x; a teacher's forward pass is
  // added.
  Int128 train(int64_t sequences, int64_t length, std::vector<RoutedWork> const& routed, Pairs pairs = {}) const;
};

std::vector<int64_t> routed_layers(ModelConfig const&, DepthConfig const&);
int64_t rows_of_capacity(double capacity, int64_t length);  // K = max(1, floor(capacity T + 1e-9)); 0 for capacity 0
int64_t causal_pairs(int64_t rows);                         // rows (rows + 1) / 2

// Returns the FLOPs of one training step over `tokens` tokens (or of one pass over a context) in 64 bits; only totals of a run may be
// larger. Throws Error(config) when they do not fit.
int64_t flops_in_64_bits(Int128 flops, int64_t tokens);

Ledger make_ledger(ModelConfig const&, DepthConfig const&, int64_t vocab_size, TrainingSetup const& training = {});
// Planned work of the routed layers, as Ledger::planned_work of the planned capacities.
std::vector<RoutedWork> planned_work(ModelConfig const&, DepthConfig const&, int64_t sequences, int64_t length);
int64_t planned_forward_flops(ModelConfig const&, DepthConfig const&, int64_t vocab_size, int64_t sequences, int64_t length);
// Ledger::train of the planned work; hindsight trains all branches of every token.
int64_t planned_train_flops(ModelConfig const&, DepthConfig const&, int64_t vocab_size, int64_t sequences, int64_t length);
int64_t planned_train_flops(Ledger const&, DepthPlan const&, int64_t sequences, int64_t length);

struct Parameters {
  int64_t total = 0, embedding = 0, blocks = 0, routers = 0, predictors = 0;
  int64_t non_embedding() const { return total - embedding; }
};
Parameters count_parameters(ModelConfig const&, DepthConfig const&, int64_t vocab_size);
// Bytes of keys and values that generation keeps, mean over tokens: for the planned shares, or for `shares`, the share of the tokens that
// went through each routed layer.
double kv_bytes_per_token(ModelConfig const&, DepthConfig const&, int64_t bytes_per_value = 4);
double kv_bytes_per_token(ModelConfig const&, DepthConfig const&, std::vector<double> const& shares, int64_t bytes_per_value = 4);

}  // namespace isobath
