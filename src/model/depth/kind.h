#pragma once
// The seam between the language model and a kind of depth (depth.kind): a module that owns what decides depth (routers, exits, factors)
// and, for each forward pass, an object that takes the hidden states through the layers. The table in kind.cpp lists the kinds.

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
  std::vector<at::Tensor> replay_BT;  // as ModelInput has it
  bool learns = false;                // a training pass with gradients

  uint64_t layer_noise(int64_t layer) const;
  // Of the `index`-th routed layer; undefined where nothing is replayed.
  at::Tensor replay(size_t index) const { return replay_BT.empty() ? at::Tensor() : replay_BT[index]; }
};

// One forward pass.
class DepthPass {
 public:
  explicit DepthPass(ForwardContext const& context) : context(context) {}
  virtual ~DepthPass() = default;

  // Layers in turn, from 0.
  virtual at::Tensor layer(int64_t index, BlockImpl& block, at::Tensor const& x_ND) = 0;
  virtual at::Tensor finish(at::Tensor const& x_ND) { return context.norm(x_ND); }
  // Losses, statistics and which tokens ran, once the layers are done.
  virtual void report(ModelOutput&) {}

  ForwardContext const& context;
};
using DepthPasses = std::vector<std::unique_ptr<DepthPass>>;

struct DepthModule : torch::nn::Module {
  // The context outlives the pass.
  virtual std::unique_ptr<DepthPass> begin(ForwardContext const& context) = 0;

  // Public name, initial values and optimizer role of all that belongs to one layer ("model.layers.3."), or to the whole model.
  virtual void layer_weights(int64_t /*layer*/, WeightList&) const {}
  virtual void model_weights(WeightList&) const {}

  // Everything that is learned outside the gradient moves here, once a step, from statistics of all its micro-batches. What changed about
  // how the model runs, for the log; mostly nothing.
  virtual std::string end_of_step(StepStatistics const&) { return ""; }

  // Calibration sets the offsets of the causal decisions so that each layer's planned share of several batches passes. The passes of
  // these batches go through the layers side by side; before layer `layer`, x_ND[i] is the state of batch i. After all layers a round
  // ends, of which there are `calibration_rounds`.
  virtual void calibrate(int64_t /*layer*/, BlockImpl&, DepthPasses const&, std::vector<at::Tensor> const& /*x_ND*/) {}
  virtual void end_calibration_round(DepthPasses const&) {}
  virtual int calibration_rounds() const { return 1; }
  // The offsets, live, [1] each: what a causal decision's logit must exceed outside of training; 0 until calibrated.
  virtual std::vector<at::Tensor> offsets() const { return {}; }
  // The first layer that cannot decide from the past alone because neither training nor a calibration has set its threshold.
  virtual std::optional<int64_t> undecided_layer() const { return {}; }
  // What to do about it besides calibrating, as words for an error; may be empty.
  virtual std::string decide_in_training() const { return ""; }

  // Share of each sequence that each routed layer takes from here on; for kinds whose plan has_capacity().
  virtual void set_capacities(std::vector<double> const& capacities);
  // Every token takes this branch from here on; nullopt: the one that is chosen. For kinds whose plan has branch_depths().
  virtual void force_branch(std::optional<int64_t>) {}
  // Makes the model now what the end of its schedule makes it (end_of_step): small factors become skips. False when nothing changed.
  virtual bool harden() { return false; }
};

std::shared_ptr<DepthModule> make_depth(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size);

using DepthModuleFactory = std::function<std::shared_ptr<DepthModule>(ModelConfig const&, DepthConfig const&, int64_t vocab_size)>;
void add_depth_module(std::string const& kind, DepthModuleFactory factory);

// Fills the output's routing_NC, and without gradients its routed_layers and depth_BT. keeps_kv: skipped tokens give keys and values, too.
void report_layers(ModelOutput& output, ForwardContext const& context, int64_t layers, bool keeps_kv, std::vector<RoutedLayer> routed);

}  // namespace isobath
