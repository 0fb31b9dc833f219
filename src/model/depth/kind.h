#pragma once
// The interface between the language model and a kind of depth (depth.kind): a DepthModule owns the routers, exits or factors, and for each
// forward pass a DepthPass takes the hidden states through the layers. The table in kind.cpp lists the kinds.

#include <torch/nn/module.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "model/block.h"
#include "model/routing.h"

namespace isobath {

struct FinalNorm {
  at::Tensor weight_D;
  double eps = 0;
  at::Tensor operator()(at::Tensor const& x_ND) const;
};

// What stays the same in all layers of a pass.
struct ForwardContext {
  Rows rows;  // all tokens of the batch
  at::Tensor tokens_N;
  RotaryTables rotary;
  FinalNorm norm;
  Routing routing = Routing::causal;
  NoiseKey noise;
  std::vector<at::Tensor> replay_BT;  // ModelInput::replay_BT
  bool learns = false;                // a training pass with gradients

  uint64_t layer_noise(int64_t layer) const;
  // The replayed selection of the `index`-th routed layer; undefined where nothing is replayed.
  at::Tensor replay(size_t index) const { return replay_BT.empty() ? at::Tensor() : replay_BT[index]; }
};

// One forward pass.
class DepthPass {
 public:
  explicit DepthPass(ForwardContext const& context) : context(context) {}
  virtual ~DepthPass() = default;

  // Called once for each layer, in order from 0; returns the hidden states behind that layer.
  virtual at::Tensor layer(int64_t index, BlockImpl& block, at::Tensor const& x_ND) = 0;
  virtual at::Tensor finish(at::Tensor const& x_ND) { return context.norm(x_ND); }
  // Called last: fills in losses, statistics and which tokens ran.
  virtual void report(ModelOutput&) {}

  ForwardContext const& context;
};
using DepthPasses = std::vector<std::unique_ptr<DepthPass>>;

struct DepthModule : torch::nn::Module {
  // `context` must outlive the pass.
  virtual std::unique_ptr<DepthPass> begin(ForwardContext const& context) = 0;

  // Declare the tensors (public name, initial values, optimizer role) of one layer, whose names start with "model.layers.3.", or of the
  // whole model.
  virtual void layer_weights(int64_t /*layer*/, WeightList&) const {}
  virtual void model_weights(WeightList&) const {}

  // Updates everything that is learned outside the gradient, once a step, from the statistics of all its micro-batches. Returns what
  // changed about how the model runs, for the log; mostly an empty text.
  virtual std::string end_of_step(StepStatistics const&) { return ""; }

  // Calibration sets the offsets of the causal decisions so that these select each layer's planned share of the tokens of several batches.
  // In each of calibration_rounds() rounds, calibrate() is called before each layer, x_ND[i] being the hidden states of batch i there, and
  // then all batches go through that layer; end_calibration_round() follows the last layer.
  // Several ranks have different batches of the text, whose scores are joined over `ranks`.
  virtual void calibrate(int64_t /*layer*/, BlockImpl&, DepthPasses const&, std::vector<at::Tensor> const& /*x_ND*/,
                         AcrossRanks const& /*ranks*/) {}
  virtual void end_calibration_round(DepthPasses const&, AcrossRanks const& /*ranks*/) {}
  virtual int calibration_rounds() const { return 1; }
  // Whether all layers get one offset, with which they select their planned shares on average. Throws Error(config) for kinds that cannot.
  virtual void share_budget(bool shared);
  // The offsets, [1] each, sharing memory with the model: calibrated corrections of the causal decisions, used outside of training; 0 at
  // first.
  virtual std::vector<at::Tensor> offsets() const { return {}; }
  // The first layer that cannot decide from the past alone because neither training nor a calibration has set its threshold.
  virtual std::optional<int64_t> first_uncalibrated_layer() const { return {}; }
  // How to train so that no calibration is needed, as words for an error message; may be empty.
  virtual std::string calibration_alternative() const { return ""; }

  // Sets the capacity of each routed layer, the share of each sequence that it processes, from here on. Only for kinds whose plan says
  // has_capacity() or capacity_changes().
  virtual void set_capacities(std::vector<double> const& capacities);
  // Every token takes this branch from here on; nullopt: the one that is chosen. For kinds whose plan has branch_depths().
  virtual void force_branch(std::optional<int64_t>) {}
  // Hardens the model at once instead of at its scheduled step (end_of_step): small factors become skips. False when nothing changed.
  virtual bool harden() { return false; }
};

std::shared_ptr<DepthModule> make_depth(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size);

using DepthModuleFactory = std::function<std::shared_ptr<DepthModule>(ModelConfig const&, DepthConfig const&, int64_t vocab_size)>;
void add_depth_module(std::string const& kind, DepthModuleFactory factory);

// Fills the output's routing_NC, and without gradients its routed_layers and depth_BT. keeps_kv: skipped tokens give keys and values, too.
void report_layers(ModelOutput& output, ForwardContext const& context, int64_t layers, bool keeps_kv, std::vector<RoutedLayer> routed);

}  // namespace isobath
