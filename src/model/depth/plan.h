#pragma once
// What a kind of depth (depth.kind) means for costs, schedules and reports, known before anything is allocated. One subclass per kind, in
// src/model/depth/KIND/plan; the table in plan.cpp lists them. No LibTorch.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"

namespace isobath {

struct Ledger;
struct Parameters;

class DepthPlan {
 public:
  DepthPlan(ModelConfig const& model, DepthConfig const& depth) : model_(model), depth_(depth) {}
  virtual ~DepthPlan() = default;

  // A few words for tables: "3 routed at 12.5 %".
  virtual std::string describe() const = 0;
  // What decides which tokens a routed layer runs, for the report's table of layers; ends with "; ".
  virtual std::string explain_shares() const { return ""; }

  // Whether training selects tokens by looking at later ones, which generation cannot do; the model then has two routings, top-k and
  // causal.
  virtual bool uses_noncausal_routing() const { return false; }
  // Whether the share of tokens that routed layers take may be changed in a trained model (`eval --capacity`).
  virtual bool has_capacity() const { return false; }
  // Layers that may skip tokens, ascending, from 0.
  virtual std::vector<int64_t> routed_layers() const { return {}; }
  // Depths, in layers, that a token may stop at, ascending; empty where tokens do not stop.
  virtual std::vector<int64_t> branch_depths() const { return {}; }
  // The mean number of layers per token that training aims at; 0 for kinds without such a target.
  virtual double mean_depth() const { return 0; }
  // The layer whose weights layer `layer` uses: itself unless layers are tied.
  virtual int64_t layer_of_weights(int64_t layer) const { return layer; }

  // Limits for `match`: the smallest number of layers it may try, and why it may not change that number (empty: it may).
  virtual int64_t fewest_layers() const { return 1; }
  virtual std::string fixed_layers_reason() const { return ""; }

  // Planned share of the tokens in each routed layer, first to last.
  virtual std::vector<double> capacities() const { return {}; }
  // The same while training, after any warm-up; and the largest shares that any training step takes.
  virtual std::vector<double> training_capacities() const { return capacities(); }
  virtual std::vector<double> most_capacities() const { return training_capacities(); }
  // The shares of training step `step` (from 0), which starts when the share `progress` of the run is done. Depends on nothing but its
  // arguments.
  virtual std::vector<double> step_capacities(uint64_t seed, int64_t step, double progress) const;
  // Whether steps cost different amounts, and whether that is because the capacity itself is scheduled.
  virtual bool steps_differ() const { return capacity_changes(); }
  virtual bool capacity_changes() const { return false; }

  // Add what this kind costs and stores beyond a stack of dense blocks.
  virtual void add_costs(Ledger&, int64_t /*vocab_size*/) const {}
  virtual void add_parameters(Parameters&, int64_t /*vocab_size*/) const {}

 protected:
  // Shares that fall linearly from 1 over depth.capacity_warmup.
  std::vector<double> warmed_up(std::vector<double> shares, double progress) const;

  ModelConfig model_;
  DepthConfig depth_;
};

// The plan of depth.kind. Throws Error(config) for a kind without one.
std::unique_ptr<DepthPlan const> plan_depth(ModelConfig const& model, DepthConfig const& depth);

using DepthPlanFactory = std::function<std::unique_ptr<DepthPlan const>(ModelConfig const&, DepthConfig const&)>;
void add_depth_plan(std::string const& kind, DepthPlanFactory factory);

// "12.5 %", "50 to 12.5 %"
std::string capacity_text(std::vector<double> const& capacity);

}  // namespace isobath
