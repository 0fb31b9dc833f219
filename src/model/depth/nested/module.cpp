#include "model/depth/nested/module.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include "model/depth/block_rows.h"
#include "model/depth/nested/plan.h"
#include "nn/ops/ops.h"
#include "nn/router/routing_scope.h"

namespace isobath {

namespace {

class NestedPass : public DepthPass {
 public:
  NestedPass(NestedModule& module, ForwardContext const& context)
      : DepthPass(context), module_(module), computes_all_branches_(context.learns && module.gate && module.gate->computes_all_branches()) {
    routes_.reserve(module.exits.size());  // pointers to earlier routes (last_route) stay valid
  }

  // In hindsight training every token goes through all layers.
  at::Tensor layer(int64_t index, BlockImpl& block, at::Tensor const& x_ND) override;
  at::Tensor finish(at::Tensor const& x_ND) override;
  void report(ModelOutput& output) override;

  Route const* last_route() const { return routes_.empty() ? nullptr : &routes_.back(); }

 private:
  void choose(size_t exit, at::Tensor const& x_ND);
  void select(size_t exit, at::Tensor const& x_ND, uint64_t noise_key);
  // The final norm of `branch`.
  at::Tensor normed(at::Tensor const& x_ND, size_t branch) const {
    bool const own = branch < module_.exits.size() && module_.exits[branch]->norm_D.defined();
    return own ? FinalNorm{module_.exits[branch]->norm_D, context.norm.eps}(x_ND) : context.norm(x_ND);
  }

  NestedModule& module_;
  bool computes_all_branches_;
  DepthGateImpl::Choice choice_;         // without expert choice
  std::vector<Route> routes_;            // one for each exit passed
  std::vector<at::Tensor> branches_ND_;  // hidden states at the exits; hindsight training only
  std::vector<RoutedLayer> layers_;      // one for each layer behind the first exit
  at::Tensor weight_N_;                  // factor on what layers add behind the last exit passed
};

at::Tensor NestedPass::layer(int64_t index, BlockImpl& block, at::Tensor const& x_ND) {
  uint64_t const noise_key = context.layer_noise(index);
  if (module_.gate && index == module_.decide_after) {
    choice_ = module_.gate->choose(x_ND, context.rows, noise_key);
    if (module_.forced_branch) {
      choice_.branch_BT.fill_(*module_.forced_branch);
      choice_.score_NB.reset();
    }
  }
  size_t const exit = routes_.size();
  if (exit < module_.depths.size() && module_.depths[exit] == index) {
    if (module_.gate)
      choose(exit, x_ND);
    else
      select(exit, x_ND, noise_key);
  }
  if (routes_.empty()) return block.forward(x_ND, context.rows, context.rotary);

  Route const& chosen = routes_.back();
  layers_.push_back(chosen.layer);
  if (computes_all_branches_) return block.forward(x_ND, context.rows, context.rotary);
  if (chosen.selected.count == 0) return skip_all_rows(block, module_.keeps_kv, x_ND, context.rows, context.rotary);
  at::Tensor const delta_RD = selected_delta(block, RoutedPart::block, module_.keeps_kv, x_ND, context, {chosen.index_R, chosen.selected});
  return ops::scatter_add_rows(x_ND, chosen.index_R, delta_RD,
                               weight_N_.defined() ? weight_N_.index_select(0, chosen.index_R) : at::Tensor());
}

// Selects the tokens whose branch is deeper than this exit.
void NestedPass::choose(size_t exit, at::Tensor const& x_ND) {
  DepthGateImpl const& gate = *module_.gate;
  auto const branch = static_cast<int64_t>(exit);
  at::Tensor const deeper_BT = choice_.branch_BT.gt(branch), causal_BT = computes_all_branches_ ? at::ones_like(deeper_BT) : deeper_BT;
  at::Tensor const replayed_BT = context.replay(layers_.size()),
                   executed_BT = replayed_BT.defined() && !computes_all_branches_ ? replayed_BT : causal_BT;
  at::Tensor const score_BT = choice_.probability_NB.defined()
                                  ? choice_.probability_NB.detach().slice(1, branch + 1).sum(1).view_as(executed_BT)
                                  : deeper_BT.to(ops::wide_options(x_ND));
  Route& chosen = routes_.emplace_back();
  chosen.layer = {executed_BT, causal_BT, causal_BT, score_BT};
  if (!at::GradMode::is_enabled() && !context.rows.cache && choice_.score_NB.defined())
    chosen.layer.margin_BT = gate.margin_N(choice_, branch).view_as(executed_BT);
  weight_N_ = gate.weight_N(choice_, branch);
  if (computes_all_branches_)
    branches_ND_.push_back(x_ND);
  else
    chosen.selected = select_ragged(context.rows, executed_BT, chosen.index_R);
}

// The exit's router selects the tokens that go on, among those that went past the previous exit.
void NestedPass::select(size_t exit, at::Tensor const& x_ND, uint64_t noise_key) {
  RoutingScope const routing_scope;
  ExitImpl& at = *module_.exits[exit];
  RouterInput const input{x_ND, context.tokens_N, context.rows, noise_key};
  Route& chosen = routes_.emplace_back(route(*at.router, input, context, last_route(), at.capacity, context.replay(layers_.size())));
  weight_N_ = at.router->gate(chosen.score_N);
  if (!module_.forced_branch) return;
  chosen.layer.executed_BT = at::full_like(chosen.layer.executed_BT, *module_.forced_branch > static_cast<int64_t>(exit));
  chosen.selected = select_ragged(context.rows, chosen.layer.executed_BT, chosen.index_R);
}

at::Tensor NestedPass::finish(at::Tensor const& x_ND) {
  at::Tensor result_ND = normed(x_ND, module_.has_exit_norms ? 0 : module_.exits.size());
  for (size_t exit = 0; module_.has_exit_norms && exit < routes_.size(); ++exit)
    result_ND = at::where(routes_[exit].layer.executed_BT.view({-1, 1}), normed(x_ND, exit + 1), result_ND);
  return result_ND;
}

void NestedPass::report(ModelOutput& output) {
  for (size_t branch = 0; branch < branches_ND_.size(); ++branch) output.branches_ND.push_back(normed(branches_ND_[branch], branch));
  if (!output.branches_ND.empty()) output.branches_ND.push_back(output.x_ND);
  if (auto const gate = module_.gate) {
    output.branch_BT = choice_.branch_BT;
    output.gate_loss = gate->loss_sum(choice_);
    if (output.gate_loss.defined()) output.gate_loss = output.gate_loss / static_cast<double>(context.rows.count);
    output.branch_choice_loss = [gate, choice = choice_](at::Tensor const& losses_NB, at::Tensor const& targets_N) {
      return gate->hindsight_loss_sum(choice, losses_NB, targets_N);
    };
    if (context.learns) output.statistics.push_back(gate->counts(choice_));
  } else {
    RouterLosses losses;
    for (size_t exit = 0; exit < routes_.size(); ++exit) {
      losses.add(routes_[exit]);
      ExitImpl const& at = *module_.exits[exit];
      Route const* before = exit > 0 ? &routes_[exit - 1] : nullptr;
      if (context.learns) add_threshold_statistics(*at.router, routes_[exit], before, at.capacity, context.rows, output);
    }
    losses.report(output, context.rows.count, module_.exits.size());
  }
  report_layers(output, context, module_.layers, module_.keeps_kv, std::move(layers_));
}

}  // namespace

ExitImpl::ExitImpl(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, double capacity, double base_rate)
    : capacity(capacity), base_rate(base_rate) {
  if (depth.choice == BranchChoice::expert) router = register_module("router", std::make_shared<RouterImpl>(model, depth, vocab_size));
  if (depth.exit_norms) norm_D = register_parameter("norm", at::ones({model.width}));
}

NestedModule::NestedModule(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size)
    : layers(model.layers),
      decide_after(resolved_decide_after(depth)),
      depths(depth.exits),
      keeps_kv(depth.skipped_kv == SkippedKv::keep),
      has_exit_norms(depth.exit_norms) {
  NestedPlan const plan(model, depth);
  std::vector<double> const capacities = plan.capacities();
  double before = 1;
  for (int64_t const after : depths) {
    double const capacity = capacities[static_cast<size_t>(after - depths.front())];
    auto const exit = std::make_shared<ExitImpl>(model, depth, vocab_size, capacity, capacity / before);
    exits.push_back(register_module("exit" + std::to_string(exits.size()), exit));
    before = capacity;
  }
  if (!plan.is_expert_choice()) gate = register_module("gate", std::make_shared<DepthGateImpl>(model, depth));
}

std::unique_ptr<DepthPass> NestedModule::begin(ForwardContext const& context) { return std::make_unique<NestedPass>(*this, context); }

void NestedModule::model_weights(WeightList& list) const {
  for (size_t exit = 0; exit < exits.size(); ++exit) {
    list.constant("model.exit_norms." + std::to_string(exit) + ".weight", exits[exit]->norm_D, Role::vector, 1);
    if (exits[exit]->router)
      exits[exit]->router->weights("model.layers." + std::to_string(depths[exit]) + ".", exits[exit]->base_rate, list);
  }
  if (gate) gate->weights(list);
}

std::string NestedModule::end_of_step(StepStatistics const& step) {
  std::vector<at::Tensor> const statistics = step.joined();
  if (gate && !statistics.empty()) gate->end_of_step(statistics.front().sum(0), step.updated);
  size_t next = 0;
  for (size_t exit = 0; !gate && exit < exits.size(); ++exit) update_threshold(*exits[exit]->router, statistics, next, step.updated);
  return "";
}

void NestedModule::calibrate(int64_t layer, BlockImpl&, DepthPasses const& passes, std::vector<at::Tensor> const& x_ND,
                             AcrossRanks const& ranks) {
  if (gate && layer == decide_after && gate->has_offset()) {
    std::vector<at::Tensor> scores_NB;
    for (size_t i = 0; i < passes.size(); ++i) scores_NB.push_back(gate->calibration_scores(x_ND[i], passes[i]->context.rows));
    gate->calibrate(ranks.joined(at::cat(scores_NB)), passes.front()->context.rows.longest);
  }
  for (size_t exit = 0; !gate && exit < exits.size(); ++exit) {
    if (depths[exit] != layer) continue;
    RouterCalibration calibration;
    for (size_t i = 0; i < passes.size(); ++i) {
      ForwardContext const& context = passes[i]->context;
      RouterInput const input{x_ND[i], context.tokens_N, context.rows, context.layer_noise(layer)};
      calibration.add(*exits[exit]->router, input, static_cast<NestedPass const&>(*passes[i]).last_route(), exits[exit]->capacity);
    }
    calibration.finish(*exits[exit]->router, ranks);
  }
}

std::vector<at::Tensor> NestedModule::offsets() const {
  std::vector<at::Tensor> offsets;
  for (auto const& exit : exits)
    if (exit->router) offsets.push_back(exit->router->cut);
  if (gate && gate->has_offset()) offsets.push_back(gate->cut);
  return offsets;
}

void NestedModule::set_capacities(std::vector<double> const& capacities) {
  if (gate) return DepthModule::set_capacities(capacities);
  if (static_cast<int64_t>(capacities.size()) != layers - depths.front())
    throw Error(ExitCode::other, "[set_capacities] " + std::to_string(capacities.size()) + " capacities given, the model has " +
                                     std::to_string(layers - depths.front()) + " routed layers");
  for (size_t exit = 0; exit < exits.size(); ++exit) exits[exit]->capacity = capacities[static_cast<size_t>(depths[exit] - depths.front())];
}

std::optional<int64_t> NestedModule::first_uncalibrated_layer() const {
  for (size_t exit = 0; exit < exits.size(); ++exit)
    if (exits[exit]->router && exits[exit]->capacity < 1 && !exits[exit]->router->has_decision()) return depths[exit];
  return {};
}

}  // namespace isobath
