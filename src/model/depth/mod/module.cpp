#include "model/depth/mod/module.h"

#include "core/error.h"
#include "model/depth/mod/plan.h"

namespace isobath {

namespace {

class ModPass : public DepthPass {
 public:
  ModPass(ModModule const& module, ForwardContext const& context) : DepthPass(context), module_(module) {}

  at::Tensor layer(int64_t index, BlockImpl& block, at::Tensor const& x_ND) override {
    auto const found = module_.routed.find(index);
    if (found == module_.routed.end()) return block.forward(x_ND, context.rows, context.rotary);
    auto result = found->second->forward(block, x_ND, context, context.layer_noise(index), context.replay(routes_.size()));
    losses_.add(result.route);
    routes_.push_back(std::move(result.route));
    return result.x_ND;
  }

  void report(ModelOutput& output) override {
    losses_.report(output, context.rows.count, routes_.size());
    std::vector<RoutedLayer> routed;
    for (Route const& route : routes_) routed.push_back(route.layer);
    if (context.learns) {
      size_t i = 0;
      for (auto const& [layer, of_layer] : module_.routed)
        add_threshold_statistics(*of_layer->router, routes_[i++], nullptr, of_layer->trained_capacity, context.rows, output);
    }
    report_layers(output, context, module_.layers, module_.keeps_kv, std::move(routed));
  }

 private:
  ModModule const& module_;
  std::vector<Route> routes_;
  RouterLosses losses_;
};

}  // namespace

ModModule::ModModule(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size)
    : layers(model.layers), keeps_kv(depth.skipped_kv == SkippedKv::keep) {
  ModPlan const plan(model, depth);
  std::vector<double> const capacities = plan.capacities();
  for (int64_t const layer : plan.routed_layers()) {
    auto const module = std::make_shared<RoutedLayerImpl>(model, depth, vocab_size, capacities[routed.size()]);
    routed[layer] = register_module("layer" + std::to_string(layer), module);
  }
}

std::unique_ptr<DepthPass> ModModule::begin(ForwardContext const& context) { return std::make_unique<ModPass>(*this, context); }

void ModModule::layer_weights(int64_t layer, WeightList& list) const {
  if (auto const found = routed.find(layer); found != routed.end())
    found->second->weights("model.layers." + std::to_string(layer) + ".", list);
}

std::string ModModule::end_of_step(StepStatistics const& step) {
  std::vector<at::Tensor> const statistics = step.joined();
  size_t next = 0;
  for (auto const& [layer, of_layer] : routed) update_threshold(*of_layer->router, statistics, next, step.updated);
  return "";
}

void ModModule::calibrate(int64_t layer, BlockImpl& block, DepthPasses const& passes, std::vector<at::Tensor> const& x_ND,
                          AcrossRanks const& ranks) {
  auto const found = routed.find(layer);
  if (found == routed.end()) return;
  RoutedLayerImpl& of_layer = *found->second;
  RouterCalibration calibration;
  bool const competes = shares_budget && of_layer.capacity < 1, gets_own = round == 0 || !competes;
  for (size_t i = 0; i < passes.size(); ++i) {
    ForwardContext const& context = passes[i]->context;
    at::Tensor const input_ND = of_layer.routed_input(block, x_ND[i], context);
    RouterInput const input{input_ND, context.tokens_N, context.rows, context.layer_noise(layer)};
    if (gets_own) calibration.add(*of_layer.router, input, nullptr, of_layer.capacity);
    if (competes) of_all.add(*of_layer.router, input, nullptr, of_layer.capacity);
  }
  if (gets_own) calibration.finish(*of_layer.router, ranks);
}

void ModModule::end_calibration_round(DepthPasses const&, AcrossRanks const& ranks) {
  if (shares_budget)
    for (auto const& [layer, of_layer] : routed)
      if (of_layer->capacity < 1) of_all.finish(*of_layer->router, ranks);
  of_all = {};
  round = (round + 1) % calibration_rounds();
}

std::vector<at::Tensor> ModModule::offsets() const {
  std::vector<at::Tensor> offsets;
  for (auto const& [layer, of_layer] : routed) offsets.push_back(of_layer->router->cut);
  return offsets;
}

std::optional<int64_t> ModModule::first_uncalibrated_layer() const {
  for (auto const& [layer, of_layer] : routed)
    if (of_layer->capacity < 1 && !of_layer->router->has_decision()) return layer;
  return {};
}

void ModModule::set_capacities(std::vector<double> const& capacities) {
  if (capacities.size() != routed.size())
    throw Error(ExitCode::other, "[set_capacities] " + std::to_string(capacities.size()) + " capacities given, the model has " +
                                     std::to_string(routed.size()) + " routed layers");
  size_t i = 0;
  for (auto const& [layer, of_layer] : routed) of_layer->capacity = capacities[i++];
}

}  // namespace isobath
