#pragma once
// A decoder-only transformer whose blocks may be routed (Raposo et al. 2024, arXiv 2404.02258).

#include <torch/nn/module.h>

#include <memory>
#include <optional>
#include <vector>

#include "config/config.h"
#include "model/depth/nested/gate.h"
#include "model/ledger/ledger.h"
#include "nn/rows.h"

namespace isobath {

// How a routed block picks its rows: the K best of the sequence (training; looks at the future), or one decision per token
// from the past alone (what generation can do). calibrate: as causal, after each layer in turn has set its decision's cut so that its
// capacity's share of the batch is let through.
enum class Routing { topk, causal, calibrate };

// What random routers draw from: equal keys draw equal numbers.
struct NoiseKey {
  uint64_t seed = 0;
  int64_t step = 0;
  int64_t micro_batch = 0;
};

struct ModelInput {
  at::Tensor tokens_BT;     // int64
  at::Tensor positions_BT;  // int64; undefined: 0..T-1
  at::Tensor segments_BT;   // int64; undefined: attention crosses documents
  // Generation: T is 1, the next token of texts that the cache has, or the sequences are whole beginnings of texts new to it. slots_B: of
  // the texts; positions_BT is given.
  KvCache* cache = nullptr;
  at::Tensor slots_B = {};
  // Causal routing: who goes through each routed layer (bool [B, T], as RoutedLayer::ran_BT), instead of the model's own decision. Of
  // layers behind the same exit the first one's counts; a scaled model's that run whole or not at all stay so. Empty: the model decides.
  std::vector<at::Tensor> replay_BT = {};
};

// Per routed layer, summed over the batch; int64, on the model's device, never read by the model itself.
// Columns: rows that ran; query-key pairs attended in them; tokens the causal decision says yes to; tokens top-k picks; tokens both pick.
// decided / picked / both are measured under either routing (precision = both / decided, recall = both / picked).
enum RoutingColumn : int { routing_rows, routing_pairs, routing_decided, routing_picked, routing_both, routing_columns };

// What a routed layer did with each token; [B, T] on the model's device. While text is generated a router's layers know who ran, and
// scores of all tokens.
struct RoutedLayer {
  at::Tensor ran_BT, picked_BT, decided_BT;  // bool: went through; chosen by top-k; by the causal decision
  at::Tensor score_BT;                       // of the router, in the wide type; -inf for tokens that it did not choose among
  // Without gradients, and not while text is generated: how far the causal decision was from falling the other way, in the units of what it
  // compares and the wide type; infinite for tokens that it was not about. Undefined where none is made: random routers, layers that run
  // whole or not at all.
  at::Tensor margin_BT = {};
};

struct ModelOutput {
  at::Tensor x_ND;            // final hidden states after the last norm, N = B * T, in the activations' type
  at::Tensor router_loss;     // bce over routers: mean over tokens and routed layers, not weighted; undefined when off
  at::Tensor predictor_loss;  // mean over tokens and routed layers; undefined when off. Touches predictor parameters only.
  at::Tensor z_loss;          // mean over tokens and routed layers, not weighted; undefined when off
  at::Tensor gate_loss;       // nested: balance and price of depth; scaled: cost of factors; weighted, mean over tokens; or undefined
  std::vector<at::Tensor> branches_ND;  // nested, training in hindsight: final states of every branch, as x_ND is of the deepest
  DepthGateImpl::Choice choice;         // nested; the model's own, whatever is replayed
  at::Tensor routing_NC;                // int64 [routed layers, routing_columns]; undefined for a dense model and while text is generated
  at::Tensor depth_BT;                  // int64: blocks each token went through; without gradients only, as
  std::vector<RoutedLayer> routed_layers;
};

class LanguageModel : public torch::nn::Module {
 public:
  // Initial values are keyed by (seed, parameter name): models that share a parameter share its start.
  LanguageModel(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, uint64_t seed);
  ~LanguageModel() override;

  // Throws Error(data) for sequences longer than the context, Error(other) for a replay that does not fit.
  ModelOutput forward(ModelInput const& input, Routing routing, NoiseKey const& noise);

  // Activations and matrix products in bfloat16 from here on. Weights, norms' sums, scores, gates and losses stay in the parameters' type.
  void compute_in_bfloat16() { narrow_type_ = at::kBFloat16; }

  // Every token takes this branch of a nested model from here on; nullopt: the one that is chosen.
  void force_branch(std::optional<int64_t> branch) { forced_branch_ = branch; }
  // Share of each sequence that each layer with a router lets through from here on, first to last; starts as configured.
  void set_capacities(std::vector<double> const& capacities);
  // What the logits of each routed layer's causal decision must exceed outside of training, [N], on the CPU; 0 until calibrated.
  at::Tensor cuts() const;  // and of a depth network that is steered to a mean depth
  void set_cuts(at::Tensor const& cuts_N);

  // The first layer, from 0, that cannot decide for a token from the past alone, for neither training nor a calibration has set its
  // threshold; nullopt: all can.
  std::optional<int64_t> undecided_layer() const;

  // Scaled: from here on factors that are too small are skips. False when that was so before, and of models without factors.
  bool harden();
  bool hardened() const;

  // Head weight [V, D] for ops::linear_cross_entropy; the embedding's own when tied.
  at::Tensor const& head_weight() const;
  // Sum of nats over targets_N that are not -100; the mean of the branches where training sees all of them. Then gate_loss becomes the
  // depth network's loss against the best branch in hindsight.
  at::Tensor training_loss_sum(ModelOutput& output, at::Tensor const& targets_N) const;
  // Sum of nats over targets_N that are not -100.
  at::Tensor loss_sum(ModelOutput const& output, at::Tensor const& targets_N) const;
  at::Tensor logits(at::Tensor const& x_ND) const;

  at::Device device() const { return head_weight().device(); }
  ModelConfig const& model_config() const { return model_; }
  DepthConfig const& depth_config() const { return depth_; }
  int64_t vocab_size() const { return vocab_size_; }

  // Every stored tensor under its public (Hugging Face Llama) name, as a detached view of the model's storage.
  // Fused parameters appear as their parts; `init_std` < 0 means that the tensor starts as the constant `init_value`.
  struct Stored {
    std::string name;
    at::Tensor tensor;
    double init_std = -1;
    double init_value = 0;
    bool optional = false;  // weights from elsewhere may lack it; then it keeps its start
  };
  std::vector<Stored> stored() const;

  // Matrices of linear maps and embeddings decay; norms do not; routers have a learning rate and decay of their own; predictors have
  // their own optimizer (and clipping), too, so that switching them on changes nothing else.
  enum class Role { matrix, vector, router, predictor };
  struct Parameter {
    std::string name;
    at::Tensor tensor;
    Role role;
  };
  std::vector<Parameter> trained() const;

 private:
  struct Parts;
  ModelConfig model_;
  DepthConfig depth_;
  int64_t vocab_size_;
  std::optional<at::ScalarType> narrow_type_;
  std::optional<int64_t> forced_branch_;
  std::shared_ptr<Parts> parts_;
};

}  // namespace isobath
