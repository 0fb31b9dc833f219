#pragma once
// A decoder-only transformer. depth.kind decides which layers each token goes through (depth/kind.h).

#include <torch/nn/module.h>

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "config/config.h"
#include "model/depth/kind.h"
#include "model/depth/plan.h"
#include "model/routing.h"
#include "nn/ops/ops.h"

namespace isobath {

class LanguageModel : public torch::nn::Module {
 public:
  // A parameter's initial values depend on the seed and its name alone: models that share a parameter start with equal values for it.
  // seed: of the initial weights. Without a seed the weights are left uninitialised; import_weights must fill them.
  LanguageModel(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, std::optional<uint64_t> seed);

  // Throws Error(data) for sequences longer than the context, and Error(other) for a replay under top-k routing or of the wrong number,
  // shape or type.
  ModelOutput forward(ModelInput const& input, Routing routing, NoiseKey const& noise);

  // From here on activations and matrix products are bfloat16. Weights, sums inside norms, scores, gates and losses keep the parameters'
  // type.
  void compute_in_bfloat16() { narrow_type_ = at::kBFloat16; }
  std::optional<at::ScalarType> compute_type() const { return narrow_type_; }  // of the blocks' matrix products; nothing: the parameters'

  void use_cuda_attention(CudaAttention kernel);  // for training in bfloat16

  // Adds a LoRA update of this rank to every matrix of the blocks' attention, MLP or both, and freezes the matrices themselves. The updates
  // start at zero: the outer matrix is zero, the inner one random, from `seed`.
  void add_low_rank(int64_t rank, bool attention, bool mlp, uint64_t seed);

  // Of a dense model, without gradients: calls visit(layer, x_ND) with the final hidden states that the model has without `part` of that
  // layer and of the layers `removed`, for each other layer in turn; at last visit(-1, x_ND) without that of `removed` alone. Costs half as
  // many layers as so many forward passes.
  void visit_without_each_layer(ModelInput const& input, RoutedPart part, std::set<int64_t> const& removed,
                                std::function<void(int64_t, at::Tensor const&)> const& visit);

  // Call once after each optimizer step: updates thresholds, prices and biases, and hardens a scaled model. Returns what changed about how
  // the model runs, for the log.
  std::string end_of_step(StepStatistics const& step) { return depth_module_->end_of_step(step); }
  // Sets the offsets of the causal decisions so that these select each routed layer's planned share of the tokens of these batches. Goes
  // from the first layer to the last, so that lower layers already run with their new offsets. All batches have sequences of one length.
  // With several ranks each takes its share of the batches, and all get the same offsets.
  void calibrate(std::vector<ModelInput> const& batches, NoiseKey const& noise, AcrossRanks const& ranks = {});
  void share_budget(bool shared) { depth_module_->share_budget(shared); }  // of the calibrations that follow
  // All offsets of the causal decisions (DepthModule::offsets), concatenated, on the CPU.
  at::Tensor offsets() const;
  void set_offsets(at::Tensor const& cuts_N);

  // The following do something only for some kinds of depth; DepthModule documents them.
  void force_branch(std::optional<int64_t> branch) { depth_module_->force_branch(branch); }
  void set_capacities(std::vector<double> const& capacities) { depth_module_->set_capacities(capacities); }
  std::optional<int64_t> first_uncalibrated_layer() const { return depth_module_->first_uncalibrated_layer(); }
  bool harden() { return depth_module_->harden(); }
  DepthModule const& depth() const { return *depth_module_; }
  DepthPlan const& plan() const { return *plan_; }

  // Weight [V, D] of the output head; with tied embeddings the embedding's weight.
  at::Tensor const& head_weight() const { return head_VD_.defined() ? head_VD_ : embedding_VD_; }
  // Cross-entropy in nats, summed over the tokens whose target is not -100. Where training computes all branches (hindsight), it is the
  // mean over the branches, and the loss of the network that chooses the branch is added to output.gate_loss.
  // distillation: learns the distribution of a teacher besides; the result and output.divergence_sum then contain it.
  at::Tensor training_loss_sum(ModelOutput& output, at::Tensor const& targets_N, ops::Distillation const* distillation = nullptr) const;
  // Cross-entropy in nats, summed over the tokens whose target is not -100.
  at::Tensor loss_sum(ModelOutput const& output, at::Tensor const& targets_N) const;
  at::Tensor logits(at::Tensor const& x_ND) const;

  at::Device device() const { return head_weight().device(); }
  ModelConfig const& model_config() const { return model_; }
  DepthConfig const& depth_config() const { return depth_; }
  int64_t vocab_size() const { return vocab_size_; }

  // Every stored tensor and every trained parameter, as the modules declare them.
  WeightList weights() const;
  std::vector<NamedWeight> stored() const { return weights().stored; }
  std::vector<TrainedParameter> trained() const { return weights().trained; }
  WeightList depth_weights() const;  // of these, what the kind of depth adds: routers, predictors, gates, factors, norms of exits
  // The trained parameters of the parts that train.freeze names; those of depth_weights() belong to none.
  std::vector<TrainedParameter> parameters_of(std::vector<std::string> const& parts) const;

 private:
  ForwardContext make_context(ModelInput const& input, Routing routing, NoiseKey const& noise);
  at::Tensor embed(at::Tensor const& tokens_BT) const;
  void check(ModelInput const& input, Routing routing) const;
  static void initialize(std::vector<NamedWeight> const& weights, uint64_t seed);

  ModelConfig model_;
  DepthConfig depth_;
  int64_t vocab_size_;
  std::shared_ptr<DepthPlan const> plan_;
  std::optional<at::ScalarType> narrow_type_;
  at::Tensor embedding_VD_, norm_D_, head_VD_;      // head_VD_ undefined when tied
  std::vector<std::shared_ptr<BlockImpl>> blocks_;  // one per layer; tied layers share theirs
  std::shared_ptr<DepthModule> depth_module_;
  RotaryTables rotary_master_;  // in double, on the CPU
  RotaryTables rotary_;         // in the wide type, on the model's device
};

}  // namespace isobath
