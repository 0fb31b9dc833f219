#include "model/language_model.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <c10/core/InferenceMode.h>

#include <cmath>

#include "config/routers.h"
#include "core/error.h"
#include "core/random.h"
#include "model/depth/nested/branches.h"
#include "model/depth/capacity.h"
#include "model/depth/nested/nested.h"
#include "model/depth/mod/routed_block.h"
#include "model/depth/scaled/scaled.h"
#include "nn/attention/kv_cache.h"
#include "nn/ops/ops.h"

namespace isobath {

constexpr int calibration_rounds = 3;

struct LanguageModel::Parts {
  // Each layer is one or the other.
  struct Layer {
    std::shared_ptr<BlockImpl> dense;
    std::shared_ptr<RoutedBlockImpl> routed;
    std::shared_ptr<LayerScaleImpl> scale = nullptr;  // scaled, beside dense
    bool tied = false;                                // dense is an earlier layer's
    RouterImpl* router = nullptr;                     // its own, or that of the exit before it
    double base_rate = 1;                             // share of the tokens which that sees that are to go on
    BlockImpl& block() const { return routed ? *routed->block : *dense; }
  };
  at::Tensor embedding_VD, norm_D, head_VD;  // head_VD undefined when tied
  std::vector<Layer> layers;
  std::vector<RoutedBlockImpl*> routed;   // of these
  std::vector<RouterImpl*> routers;       // of these
  std::shared_ptr<DepthGateImpl> gate;    // nested, without expert choice
  Exits exits;                            // nested
  std::shared_ptr<DepthScaleImpl> scale;  // scaled
  RotaryTables rotary_master;             // in double, on the CPU
  RotaryTables rotary;                    // in the wide type, on the model's device

  // The final norm of branch `branch`.
  at::Tensor const& branch_norm(size_t branch) const {
    return branch < exits.size() && exits[branch]->norm_D.defined() ? exits[branch]->norm_D : norm_D;
  }
};

LanguageModel::LanguageModel(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, uint64_t seed)
    : model_(model), depth_(depth), vocab_size_(vocab_size), parts_(std::make_shared<Parts>()) {
  parts_->embedding_VD = register_parameter("embedding", at::empty({vocab_size, model.width}));
  std::vector<double> const capacities = layer_capacities(model, depth);
  for (int64_t index = 0; index < model.layers; ++index) {
    std::string const name = "layer" + std::to_string(index);
    Parts::Layer& layer = parts_->layers.emplace_back();
    int64_t const weights = layer_of_weights(depth, index);
    if (depth.kind == "mod" && is_routed(depth, index)) {
      layer.base_rate = capacities[parts_->routed.size()];
      layer.routed = register_module(name, std::make_shared<RoutedBlockImpl>(model, depth, vocab_size, layer.base_rate));
      layer.router = layer.routed->router.get();
      parts_->routed.push_back(layer.routed.get());
    } else if (weights < index) {
      layer.dense = parts_->layers[static_cast<size_t>(weights)].dense;
      layer.tied = true;
    } else {
      layer.dense = register_module(name, std::make_shared<BlockImpl>(model));
    }
  }
  if (depth.kind == "scaled") {
    for (size_t i = 0; i < parts_->layers.size(); ++i)
      parts_->layers[i].scale = register_module("scale" + std::to_string(i), std::make_shared<LayerScaleImpl>(model, depth));
    parts_->scale = register_module("depth_scale", std::make_shared<DepthScaleImpl>(model, depth));
  }
  if (depth.kind == "nested") {
    double before = 1;
    for (int64_t const after : depth.exits) {
      double const capacity = capacities[static_cast<size_t>(after - depth.exits.front())];
      std::string const name = "exit" + std::to_string(parts_->exits.size());
      parts_->exits.push_back(register_module(name, std::make_shared<ExitImpl>(model, depth, vocab_size, capacity)));
      Parts::Layer& layer = parts_->layers[static_cast<size_t>(after)];
      layer.router = parts_->exits.back()->router.get();
      layer.base_rate = capacity / before;
      before = capacity;
    }
    if (!is_expert_choice(depth)) parts_->gate = register_module("depth_gate", std::make_shared<DepthGateImpl>(model, depth));
  }
  for (Parts::Layer const& layer : parts_->layers)
    if (layer.router) parts_->routers.push_back(layer.router);
  parts_->norm_D = register_parameter("norm", at::ones({model.width}));
  if (!model.tie_embeddings) parts_->head_VD = register_parameter("head", at::empty({vocab_size, model.width}));
  std::tie(parts_->rotary_master.cos_TE, parts_->rotary_master.sin_TE) =
      ops::rotary_tables(model.context, model.width / model.heads, model.rope_theta, at::TensorOptions().dtype(at::kDouble));

  for (Stored const& stored : this->stored()) {
    if (stored.init_std < 0) {
      at::Tensor(stored.tensor).fill_(stored.init_value);
      continue;
    }
    uint64_t const key = make_key({seed, hash_text(stored.name)});
    float* values = stored.tensor.mutable_data_ptr<float>();
    at::parallel_for(0, stored.tensor.numel(), 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) values[i] = static_cast<float>(stored.init_std * random_normal(key, static_cast<uint64_t>(i)));
    });
  }
}

LanguageModel::~LanguageModel() = default;

namespace {

void check_replay(ModelInput const& input, Routing routing, size_t layers) {
  if (routing != Routing::causal) throw Error(ExitCode::other, "[replay] decisions are replayed under causal routing alone");
  if (input.replay_BT.size() != layers)
    throw Error(ExitCode::other, "[replay] decisions of " + std::to_string(input.replay_BT.size()) + " layers given, the model has " +
                                     std::to_string(layers) + " routed layers");
  for (size_t i = 0; i < layers; ++i)
    if (at::Tensor const& layer_BT = input.replay_BT[i]; layer_BT.sizes() != input.tokens_BT.sizes() || layer_BT.scalar_type() != at::kBool)
      throw Error(ExitCode::other, "[replay] decisions of routed layer " + std::to_string(i) + " are " +
                                       c10::str(layer_BT.scalar_type(), layer_BT.sizes(), ", not Bool", input.tokens_BT.sizes()));
}

}  // namespace

ModelOutput LanguageModel::forward(ModelInput const& input, Routing routing, NoiseKey const& noise) {
  int64_t const B = input.tokens_BT.size(0), T = input.tokens_BT.size(1);
  if (T > model_.context)
    throw Error(ExitCode::data,
                "a sequence of " + std::to_string(T) + " tokens is longer than model.context = " + std::to_string(model_.context));
  if (!input.replay_BT.empty()) check_replay(input, routing, routed_layers(model_, depth_).size());
  at::Tensor x_ND = at::embedding(parts_->embedding_VD, input.tokens_BT.reshape({-1}));
  RotaryTables& rotary = parts_->rotary;
  if (!rotary.cos_TE.defined() || rotary.cos_TE.device() != x_ND.device() || rotary.cos_TE.scalar_type() != x_ND.scalar_type()) {
    c10::InferenceMode const kept_for_training_too(false);
    rotary = {parts_->rotary_master.cos_TE.to(x_ND.options()), parts_->rotary_master.sin_TE.to(x_ND.options())};
  }
  if (narrow_type_) x_ND = x_ND.to(*narrow_type_);
  Rows rows = all_rows(B, T, input.positions_BT, input.segments_BT, x_ND.device());
  if (input.cache) {
    rows.cache = input.cache;
    rows.slots_R = input.slots_B.unsqueeze(1).expand({B, T}).reshape({-1});
    rows.continues = T == 1;
  }

  ModelOutput output;
  std::vector<at::Tensor> statistics_NC;
  std::vector<RoutedLayer> routed_layers;
  auto const add = [](at::Tensor& sum, at::Tensor const& term) {
    if (term.defined()) sum = sum.defined() ? sum + term : term;
  };
  std::optional<ScaledRun> scaled;
  if (parts_->scale) {
    // Skips in one layer move the factors of those behind it: the cut that one pass asks for is tried in the next.
    for (int round = 0; routing == Routing::calibrate && round < calibration_rounds && parts_->scale->has_cut() && hardened(); ++round)
      parts_->scale->calibrate(forward(input, Routing::causal, noise).routed_layers);
    scaled.emplace(*parts_->scale, depth_, input.replay_BT);
  }
  auto const add_losses = [&](Route const& route) {
    add(output.router_loss, route.router_loss);
    add(output.predictor_loss, route.predictor_loss);
    add(output.z_loss, route.z_loss);
  };
  at::Tensor const tokens_N = input.tokens_BT.reshape({-1});
  std::optional<NestedRun> nested;
  if (depth_.kind == "nested") nested.emplace(parts_->exits, parts_->gate.get(), depth_, routing, forced_branch_, input.replay_BT);
  for (size_t layer = 0; layer < parts_->layers.size(); ++layer) {
    auto const& dense = parts_->layers[layer].dense;
    if (input.cache) input.cache->enter(static_cast<int64_t>(layer));
    uint64_t const noise_key = make_key({noise.seed, static_cast<uint64_t>(noise.step), static_cast<uint64_t>(noise.micro_batch), layer});
    if (scaled) {
      x_ND = scaled->layer(*dense, *parts_->layers[layer].scale, x_ND, rows, rotary);
      continue;
    }
    if (nested) {
      x_ND = nested->layer(static_cast<int64_t>(layer), *dense, x_ND, tokens_N, rows, rotary, noise_key);
      continue;
    }
    if (dense) {
      x_ND = dense->forward(x_ND, rows, rotary);
      continue;
    }
    at::Tensor const replay_BT = input.replay_BT.empty() ? at::Tensor() : input.replay_BT[routed_layers.size()];
    auto result = parts_->layers[layer].routed->forward(x_ND, tokens_N, rows, rotary, routing, replay_BT, noise_key);
    x_ND = result.x_ND;
    add_losses(result.route);
    if (result.statistics_C.defined()) statistics_NC.push_back(result.statistics_C);
    routed_layers.push_back(result.route.layer);
  }
  auto const normed = [&](at::Tensor const& state_ND, size_t branch) {
    return ops::rms_norm(state_ND, parts_->branch_norm(branch), model_.norm_eps);
  };
  output.x_ND = normed(x_ND, depth_.exit_norms ? 0 : parts_->exits.size());
  if (nested) {
    for (size_t exit = 0; depth_.exit_norms && exit < nested->routes.size(); ++exit)
      output.x_ND = at::where(nested->routes[exit].layer.ran_BT.view({-1, 1}), normed(x_ND, exit + 1), output.x_ND);
    for (at::Tensor const& branch_ND : nested->branches_ND) output.branches_ND.push_back(normed(branch_ND, output.branches_ND.size()));
    if (!output.branches_ND.empty()) output.branches_ND.push_back(output.x_ND);
    if (parts_->gate) {
      output.choice = nested->choice;
      output.gate_loss = parts_->gate->loss_sum(nested->choice);
      if (output.gate_loss.defined()) output.gate_loss = output.gate_loss / static_cast<double>(B * T);
      if (is_training() && at::GradMode::is_enabled()) parts_->gate->steer(nested->choice);
    }
    for (Route const& route : nested->routes) add_losses(route);
    routed_layers = std::move(nested->layers);
  }

  if (scaled) {
    output.gate_loss = scaled->cost();
    if (is_training() && at::GradMode::is_enabled()) parts_->scale->follow(scaled->layers);
    routed_layers = std::move(scaled->layers);
  }
  if (statistics_NC.empty() && !input.cache) {  // blocks routed one by one have counted theirs
    for (RoutedLayer const& layer : routed_layers) statistics_NC.push_back(count_routing(layer, depth_.skipped_kv == "keep"));
  }

  double const share = 1.0 / static_cast<double>(B * T * static_cast<int64_t>(parts_->routers.size()));
  for (at::Tensor* loss : {&output.router_loss, &output.predictor_loss, &output.z_loss})
    if (loss->defined()) *loss = *loss * share;
  if (!statistics_NC.empty()) output.routing_NC = at::stack(statistics_NC);
  if (!at::GradMode::is_enabled()) {
    output.depth_BT = at::full({B, T}, model_.layers - std::ssize(routed_layers), input.tokens_BT.options());
    for (RoutedLayer const& layer : routed_layers) output.depth_BT.add_(layer.ran_BT);
    output.routed_layers = std::move(routed_layers);
  }
  return output;
}

void LanguageModel::set_capacities(std::vector<double> const& capacities) {
  if (capacities.size() != parts_->routed.size())
    throw Error(ExitCode::other, "[set_capacities] " + std::to_string(capacities.size()) + " capacities given, the model has " +
                                     std::to_string(parts_->routed.size()) + " routed layers");
  for (size_t i = 0; i < capacities.size(); ++i) parts_->routed[i]->capacity = capacities[i];
}

std::optional<int64_t> LanguageModel::undecided_layer() const {
  for (size_t i = 0; i < parts_->layers.size(); ++i)
    if (RoutedBlockImpl const* routed = parts_->layers[i].routed.get(); routed && routed->capacity < 1 && !routed->router->has_decision())
      return static_cast<int64_t>(i);
  for (size_t i = 0; i < parts_->exits.size(); ++i)
    if (ExitImpl const& exit = *parts_->exits[i]; exit.router && exit.capacity < 1 && !exit.router->has_decision()) return depth_.exits[i];
  if (hardened() && !parts_->scale->has_decision()) return 0;
  return {};
}

bool LanguageModel::hardened() const { return parts_->scale && parts_->scale->hardened.item<double>() != 0; }

bool LanguageModel::harden() {
  if (!parts_->scale || hardened()) return false;
  if (!parts_->scale->by_token) {
    std::vector<at::Tensor> factors;
    for (Parts::Layer const& layer : parts_->layers) factors.push_back(layer.scale->factor_X);
    parts_->scale->drop(factors);
  }
  parts_->scale->hardened.fill_(1);
  return true;
}

at::Tensor LanguageModel::cuts() const {
  std::vector<at::Tensor> cuts;
  for (RouterImpl const* router : parts_->routers) cuts.push_back(router->cut.cpu());
  if (parts_->gate && parts_->gate->mean_depth > 0 && !parts_->gate->random) cuts.push_back(parts_->gate->cut.cpu());
  if (parts_->scale && parts_->scale->has_cut()) cuts.push_back(parts_->scale->cut.cpu());
  return cuts.empty() ? at::empty({0}) : at::cat(cuts);
}

void LanguageModel::set_cuts(at::Tensor const& cuts_N) {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < parts_->routers.size(); ++i) parts_->routers[i]->cut.copy_(cuts_N.narrow(0, static_cast<int64_t>(i), 1));
  if (parts_->gate && cuts_N.numel() > 0) parts_->gate->cut.copy_(cuts_N);
  if (parts_->scale && cuts_N.numel() > 0) parts_->scale->cut.copy_(cuts_N);
}

at::Tensor const& LanguageModel::head_weight() const { return parts_->head_VD.defined() ? parts_->head_VD : parts_->embedding_VD; }

at::Tensor LanguageModel::loss_sum(ModelOutput const& output, at::Tensor const& targets_N) const {
  return ops::linear_cross_entropy(output.x_ND, head_weight(), targets_N.reshape({-1}));
}

at::Tensor LanguageModel::training_loss_sum(ModelOutput& output, at::Tensor const& targets_N) const {
  if (output.branches_ND.empty()) return loss_sum(output, targets_N);
  at::Tensor const targets = targets_N.reshape({-1});
  at::Tensor sum;
  std::vector<at::Tensor> losses_NB;
  for (at::Tensor const& branch_ND : output.branches_ND) {
    at::Tensor losses_N;
    at::Tensor const loss = ops::linear_cross_entropy(branch_ND, head_weight(), targets, &losses_N);
    losses_NB.push_back(losses_N);
    sum = sum.defined() ? sum + loss : loss;
  }
  at::Tensor const gate =
      parts_->gate->hindsight_loss_sum(output.choice, at::stack(losses_NB, 1), targets) / static_cast<double>(targets.numel());
  output.gate_loss = output.gate_loss.defined() ? output.gate_loss + gate : gate;
  return sum / static_cast<double>(output.branches_ND.size());
}

at::Tensor LanguageModel::logits(at::Tensor const& x_ND) const { return ops::linear(x_ND, head_weight()); }

std::vector<LanguageModel::Stored> LanguageModel::stored() const {
  double const std = resolved_init_std(model_);
  double const residual_std = std / std::sqrt(2.0 * static_cast<double>(model_.layers));  // GPT-2: branches that add to the residual
  double const width = static_cast<double>(model_.width);
  std::vector<Stored> all;
  auto const random = [&](std::string const& name, at::Tensor const& tensor, double deviation) {
    if (tensor.defined()) all.push_back({name, tensor.detach(), deviation, 0});
  };
  auto const constant = [&](std::string const& name, at::Tensor const& tensor, double value) {
    if (tensor.defined()) all.push_back({name, tensor.detach(), -1, value});
  };

  auto const add_block = [&](std::string const& layer, BlockImpl const& block) {
    AttentionImpl const& attention = *block.attention;
    MlpImpl const& mlp = *block.mlp;
    int64_t const q = attention.heads * attention.head_dim, k = attention.kv_heads * attention.head_dim;
    constant(layer + "input_layernorm.weight", attention.norm_D, 1);
    random(layer + "self_attn.q_proj.weight", attention.qkv_XD.narrow(0, 0, q), std);
    random(layer + "self_attn.k_proj.weight", attention.qkv_XD.narrow(0, q, k), std);
    random(layer + "self_attn.v_proj.weight", attention.qkv_XD.narrow(0, q + k, k), std);
    random(layer + "self_attn.o_proj.weight", attention.o_DX, residual_std);
    constant(layer + "self_attn.q_norm.weight", attention.q_norm_E, 1);
    constant(layer + "self_attn.k_norm.weight", attention.k_norm_E, 1);
    constant(layer + "post_attention_layernorm.weight", mlp.norm_D, 1);
    if (mlp.gated) {
      int64_t const hidden = mlp.up_FD.size(0) / 2;
      random(layer + "mlp.gate_proj.weight", mlp.up_FD.narrow(0, 0, hidden), std);
      random(layer + "mlp.up_proj.weight", mlp.up_FD.narrow(0, hidden, hidden), std);
    } else {
      random(layer + "mlp.up_proj.weight", mlp.up_FD, std);
    }
    random(layer + "mlp.down_proj.weight", mlp.down_DF, residual_std);
  };

  random("model.embed_tokens.weight", parts_->embedding_VD, std);
  for (size_t i = 0; i < parts_->layers.size(); ++i) {
    std::string const layer = "model.layers." + std::to_string(i) + ".";
    if (!parts_->layers[i].tied) add_block(layer, parts_->layers[i].block());
    if (LayerScaleImpl const* scale = parts_->layers[i].scale.get()) {
      constant(layer + "scale.factor", scale->factor_X, depth_.scale_init);
      random(layer + "scale.weight", scale->weight_D, 0.1 / std::sqrt(width));
      constant(layer + "scale.bias", scale->bias, std::log(depth_.scale_init / (1 - depth_.scale_init)));
    }
    if (parts_->layers[i].router) {
      RouterImpl const& router = *parts_->layers[i].router;
      std::vector<RouterParameter> const declared = router_parameters(model_, depth_, vocab_size_);
      for (size_t j = 0; j < declared.size(); ++j) random(layer + declared[j].name, router.weights[j], declared[j].init_std);
      constant(layer + "router.threshold", router.threshold, 0);
      all.push_back({layer + "router.cut", router.cut, -1, 0, /*optional=*/true});
      SkipPathImpl const* skip = parts_->layers[i].routed ? parts_->layers[i].routed->skip_path.get() : nullptr;
      if (skip) {  // starts as the identity
        random(layer + "skip.down.weight", skip->down_XD, 1 / std::sqrt(width));
        constant(layer + "skip.up.weight", skip->up_DX, 0);
      }
      if (router.up_PD.defined()) {
        random(layer + "predictor.up.weight", router.up_PD, 1 / std::sqrt(width));
        constant(layer + "predictor.up.bias", router.up_bias_P, 0);
        random(layer + "predictor.down.weight", router.down_1P, 1 / std::sqrt(static_cast<double>(router.up_PD.size(0))));
        // Starts at the base rate: a fresh predictor already says yes to about as many tokens as the capacity.
        double const capacity = std::min(parts_->layers[i].base_rate, 0.999);
        constant(layer + "predictor.down.bias", router.down_bias, std::log(capacity / (1 - capacity)));
      }
    }
  }
  if (DepthGateImpl const* gate = parts_->gate.get()) {
    random("model.depth_gate.up.weight", gate->hidden_HD, 1 / std::sqrt(width));
    if (gate->weight_BX.defined())
      random("model.depth_gate.weight", gate->weight_BX, 0.1 / std::sqrt(static_cast<double>(gate->weight_BX.size(1))));
    constant("model.depth_gate.bias", gate->bias_B, 0);
    constant("model.depth_gate.price", gate->price, 0);
    constant("model.depth_gate.balance", gate->balance_B, 0);
    constant("model.depth_gate.cut", gate->cut, 0);
  }
  for (size_t i = 0; i < parts_->exits.size(); ++i)
    constant("model.exit_norms." + std::to_string(i) + ".weight", parts_->exits[i]->norm_D, 1);
  if (DepthScaleImpl const* scale = parts_->scale.get()) {
    constant("model.depth_scale.threshold", scale->threshold, scale->by_token ? depth_.skip_below : 0);
    constant("model.depth_scale.cut", scale->cut, 0);
    constant("model.depth_scale.hardened", scale->hardened, 0);
  }
  constant("model.norm.weight", parts_->norm_D, 1);
  random("lm_head.weight", parts_->head_VD, std);
  return all;
}

std::vector<LanguageModel::Parameter> LanguageModel::trained() const {
  std::vector<Parameter> all;
  for (auto const& item : named_parameters()) {
    std::string const& name = item.key();
    size_t const router = name.find(".router.");
    bool const scores =
        router != std::string::npos && (name.ends_with(".router.weight") || name.find(".score_", router) != std::string::npos);
    bool const gates = name.starts_with("depth_gate.") || name.starts_with("scale");
    Role const role = scores || gates               ? Role::router
                      : router != std::string::npos ? Role::predictor
                      : item.value().dim() >= 2     ? Role::matrix
                                                    : Role::vector;
    all.push_back({name, item.value(), role});
  }
  return all;
}

}  // namespace isobath
