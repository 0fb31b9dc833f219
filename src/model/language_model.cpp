#include "model/language_model.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"
#include "core/random.h"
#include "nn/attention/kv_cache.h"

namespace isobath {

LanguageModel::LanguageModel(ModelConfig const& model, DepthConfig const& depth, int64_t vocab_size, std::optional<uint64_t> seed)
    : model_(model), depth_(depth), vocab_size_(vocab_size), plan_(plan_depth(model, depth)) {
  embedding_VD_ = register_parameter("embedding", at::empty({vocab_size, model.width}));
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    auto const shared = static_cast<size_t>(plan_->layer_of_weights(layer));
    blocks_.push_back(shared < blocks_.size() ? blocks_[shared]
                                              : register_module("layer" + std::to_string(layer), std::make_shared<BlockImpl>(model)));
  }
  depth_module_ = register_module("depth", make_depth(model, depth, vocab_size));
  norm_D_ = register_parameter("norm", at::ones({model.width}));
  if (!model.tie_embeddings) head_VD_ = register_parameter("head", at::empty({vocab_size, model.width}));
  std::tie(rotary_master_.cos_TE, rotary_master_.sin_TE) =
      ops::rotary_tables(model.context, model.width / model.heads, model.rope_theta, at::TensorOptions().dtype(at::kDouble));
  if (seed) initialize(stored(), *seed);
}

void LanguageModel::initialize(std::vector<NamedWeight> const& weights, uint64_t seed) {
  for (NamedWeight const& weight : weights) {
    if (weight.init_std < 0) {
      at::Tensor(weight.tensor).fill_(weight.init_value);
      continue;
    }
    uint64_t const key = make_key({seed, hash_text(weight.name)});
    float* values = weight.tensor.mutable_data_ptr<float>();
    at::parallel_for(0, weight.tensor.numel(), 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) values[i] = static_cast<float>(weight.init_std * random_normal(key, static_cast<uint64_t>(i)));
    });
  }
}

ModelOutput LanguageModel::forward(ModelInput const& input, Routing routing, NoiseKey const& noise) {
  check(input, routing);
  ForwardContext const context = make_context(input, routing, noise);
  at::Tensor x_ND = embed(input.tokens_BT);
  std::unique_ptr<DepthPass> const pass = depth_module_->begin(context);
  for (int64_t layer = 0; layer < model_.layers; ++layer) {
    if (input.cache) input.cache->enter(layer);
    x_ND = pass->layer(layer, *blocks_[static_cast<size_t>(layer)], x_ND);
  }
  ModelOutput output;
  output.x_ND = pass->finish(x_ND);
  pass->report(output);
  return output;
}

void LanguageModel::add_low_rank(int64_t rank, bool attention, bool mlp, uint64_t seed) {
  std::set<BlockImpl*> done;  // layers may share a block
  for (auto const& block : blocks_) {
    if (!done.insert(block.get()).second) continue;
    if (attention) {
      block->attention->add_low_rank(rank);
      for (at::Tensor const& matrix : {block->attention->qkv_XD, block->attention->o_DX}) matrix.set_requires_grad(false);
    }
    if (!mlp) continue;
    block->mlp->add_low_rank(rank);
    for (at::Tensor const& matrix : {block->mlp->up_FD, block->mlp->down_DF}) matrix.set_requires_grad(false);
  }
  std::vector<NamedWeight> added;
  for (NamedWeight const& weight : stored())
    if (is_low_rank(weight.name)) added.push_back(weight);
  at::NoGradGuard const no_grad;
  initialize(added, seed);
}

void LanguageModel::visit_without_each_layer(ModelInput const& input, RoutedPart part, std::set<int64_t> const& removed,
                                             std::function<void(int64_t, at::Tensor const&)> const& visit) {
  if (depth_.kind != "dense") throw Error(ExitCode::other, "[visit_without_each_layer] depth.kind is " + depth_.kind + ", not dense");
  at::NoGradGuard const no_grad;
  check(input, Routing::causal);
  ForwardContext const context = make_context(input, Routing::causal, {});
  auto const behind = [&](int64_t layer, bool without, at::Tensor const& x_ND) {
    BlockImpl& block = *blocks_[static_cast<size_t>(layer)];
    return without ? block.forward_without(part, x_ND, context.rows, context.rotary) : block.forward(x_ND, context.rows, context.rotary);
  };
  at::Tensor x_ND = embed(input.tokens_BT);
  for (int64_t layer = 0; layer < model_.layers; ++layer) {
    bool const is_removed = removed.contains(layer);
    if (!is_removed) {
      at::Tensor without_ND = behind(layer, true, x_ND);
      for (int64_t later = layer + 1; later < model_.layers; ++later) without_ND = behind(later, removed.contains(later), without_ND);
      visit(layer, context.norm(without_ND));
    }
    x_ND = behind(layer, is_removed, x_ND);
  }
  visit(-1, context.norm(x_ND));
}

void LanguageModel::calibrate(std::vector<ModelInput> const& all_batches, NoiseKey const& noise, AcrossRanks const& all_ranks) {
  at::NoGradGuard const no_grad;
  // Fewer batches than ranks are not divided: every rank takes all.
  AcrossRanks const ranks = std::ssize(all_batches) < all_ranks.size ? AcrossRanks{} : all_ranks;
  std::vector<ModelInput> batches;
  std::vector<ForwardContext> contexts;
  NoiseKey of_batch = noise;
  for (size_t i = 0; i < all_batches.size(); ++i) {
    ModelInput const& batch = all_batches[i];
    check(batch, Routing::causal);
    if (static_cast<int64_t>(i) % ranks.size == ranks.rank) {
      batches.push_back(batch);
      contexts.push_back(make_context(batch, Routing::causal, of_batch));
    }
    of_batch.first_row += batch.tokens_BT.numel();
  }
  for (int round = 0; round < depth_module_->calibration_rounds(); ++round) {
    DepthPasses passes;
    std::vector<at::Tensor> x_ND;
    for (size_t i = 0; i < batches.size(); ++i) {
      passes.push_back(depth_module_->begin(contexts[i]));
      x_ND.push_back(embed(batches[i].tokens_BT));
    }
    for (int64_t layer = 0; layer < model_.layers; ++layer) {
      BlockImpl& block = *blocks_[static_cast<size_t>(layer)];
      depth_module_->calibrate(layer, block, passes, x_ND, ranks);
      for (size_t i = 0; i < batches.size(); ++i) x_ND[i] = passes[i]->layer(layer, block, x_ND[i]);
    }
    depth_module_->end_calibration_round(passes, ranks);
  }
}

void LanguageModel::check(ModelInput const& input, Routing routing) const {
  int64_t const T = input.tokens_BT.size(1);
  if (T > model_.context)
    throw Error(ExitCode::data,
                "a sequence of " + std::to_string(T) + " tokens is longer than model.context = " + std::to_string(model_.context));
  if (input.replay_BT.empty()) return;
  size_t const layers = plan_->routed_layers().size();
  if (routing != Routing::causal) throw Error(ExitCode::other, "[replay] decisions are replayed under causal routing alone");
  if (input.replay_BT.size() != layers)
    throw Error(ExitCode::other, "[replay] decisions of " + std::to_string(input.replay_BT.size()) + " layers given, the model has " +
                                     std::to_string(layers) + " routed layers");
  for (size_t i = 0; i < layers; ++i)
    if (at::Tensor const& layer_BT = input.replay_BT[i]; layer_BT.sizes() != input.tokens_BT.sizes() || layer_BT.scalar_type() != at::kBool)
      throw Error(ExitCode::other, "[replay] decisions of routed layer " + std::to_string(i) + " are " +
                                       c10::str(layer_BT.scalar_type(), layer_BT.sizes(), ", not Bool", input.tokens_BT.sizes()));
}

ForwardContext LanguageModel::make_context(ModelInput const& input, Routing routing, NoiseKey const& noise) {
  int64_t const B = input.tokens_BT.size(0), T = input.tokens_BT.size(1);
  if (!rotary_.cos_TE.defined() || rotary_.cos_TE.device() != norm_D_.device() || rotary_.cos_TE.scalar_type() != norm_D_.scalar_type()) {
    c10::InferenceMode const kept_for_training_too(false);
    at::TensorOptions const wide = norm_D_.options().requires_grad(false);
    rotary_ = {rotary_master_.cos_TE.to(wide), rotary_master_.sin_TE.to(wide)};
  }
  ForwardContext context{all_rows(B, T, input.positions_BT, input.segments_BT, norm_D_.device()),
                         input.tokens_BT.reshape({-1}),
                         rotary_,
                         {norm_D_, model_.norm_eps},
                         routing,
                         noise,
                         input.replay_BT,
                         is_training() && at::GradMode::is_enabled()};
  context.rows.first_noise_counter = noise.first_row;
  if (input.cache) {
    context.rows.cache = input.cache;
    context.rows.slots_R = input.slots_B.unsqueeze(1).expand({B, T}).reshape({-1});
    context.rows.one_row_per_text = T == 1;
  }
  return context;
}

at::Tensor LanguageModel::embed(at::Tensor const& tokens_BT) const {
  at::Tensor const x_ND = at::embedding(embedding_VD_, tokens_BT.reshape({-1}));
  return narrow_type_ ? x_ND.to(*narrow_type_) : x_ND;
}

void LanguageModel::use_cuda_attention(CudaAttention kernel) {
  for (auto const& block : blocks_) block->attention->cuda_kernel = kernel;
}

at::Tensor LanguageModel::offsets() const {
  std::vector<at::Tensor> cuts;
  for (at::Tensor const& offset : depth_module_->offsets()) cuts.push_back(offset.cpu());
  return cuts.empty() ? at::empty({0}) : at::cat(cuts);
}

void LanguageModel::set_offsets(at::Tensor const& cuts_N) {
  at::NoGradGuard no_grad;
  int64_t i = 0;
  for (at::Tensor const& offset : depth_module_->offsets()) offset.copy_(cuts_N.narrow(0, i++, 1));
}

at::Tensor LanguageModel::loss_sum(ModelOutput const& output, at::Tensor const& targets_N) const {
  return ops::linear_cross_entropy(output.x_ND, head_weight(), targets_N.reshape({-1}));
}

at::Tensor LanguageModel::training_loss_sum(ModelOutput& output, at::Tensor const& targets_N, ops::Distillation const* distillation) const {
  at::Tensor const targets = targets_N.reshape({-1});
  std::vector<at::Tensor> const branches_ND = output.branches_ND.empty() ? std::vector{output.x_ND} : output.branches_ND;
  auto const count = static_cast<double>(branches_ND.size());
  at::Tensor sum;
  std::vector<at::Tensor> losses_NB;
  for (at::Tensor const& branch_ND : branches_ND) {
    ops::RowLosses rows;
    at::Tensor const loss = ops::linear_cross_entropy(branch_ND, head_weight(), targets, &rows, distillation);
    losses_NB.push_back(rows.losses_N);
    sum = sum.defined() ? sum + loss : loss;
    if (!distillation) continue;
    at::Tensor const divergence = rows.divergences_N.sum() / count;
    output.divergence_sum = output.divergence_sum.defined() ? output.divergence_sum + divergence : divergence;
  }
  if (output.branches_ND.empty()) return sum;
  at::Tensor const choice = output.branch_choice_loss(at::stack(losses_NB, 1), targets) / static_cast<double>(targets.numel());
  output.gate_loss = output.gate_loss.defined() ? output.gate_loss + choice : choice;
  return sum / count;
}

at::Tensor LanguageModel::logits(at::Tensor const& x_ND) const { return ops::linear(x_ND, head_weight()); }

WeightList LanguageModel::depth_weights() const {
  WeightList list;
  for (int64_t layer = 0; layer < model_.layers; ++layer) depth_module_->layer_weights(layer, list);
  depth_module_->model_weights(list);
  return list;
}

std::vector<TrainedParameter> LanguageModel::parameters_of(std::vector<std::string> const& parts) const {
  std::set<std::string> of_depth;
  for (TrainedParameter const& parameter : depth_weights().trained) of_depth.insert(parameter.name);
  auto const part_of = [](TrainedParameter const& parameter) {
    bool const embeds = parameter.name == "model.embed_tokens.weight" || parameter.name == "lm_head.weight";
    return embeds ? "embeddings" : parameter.role == Role::vector ? "norms" : "blocks";
  };
  std::vector<TrainedParameter> found;
  for (TrainedParameter const& parameter : trained())
    if (!of_depth.contains(parameter.name) && !is_low_rank(parameter.name) &&
        std::find(parts.begin(), parts.end(), part_of(parameter)) != parts.end())
      found.push_back(parameter);
  return found;
}

WeightList LanguageModel::weights() const {
  double const std = resolved_init_std(model_);
  InitialStd const init{std, std / std::sqrt(2.0 * static_cast<double>(model_.layers))};
  WeightList list;
  list.random("model.embed_tokens.weight", embedding_VD_, Role::matrix, std);
  list.constant("model.norm.weight", norm_D_, Role::vector, 1);
  list.random("lm_head.weight", head_VD_, Role::matrix, std);
  for (int64_t layer = 0; layer < model_.layers; ++layer) {
    if (plan_->layer_of_weights(layer) == layer)
      blocks_[static_cast<size_t>(layer)]->weights("model.layers." + std::to_string(layer) + ".", init, list);
    depth_module_->layer_weights(layer, list);
  }
  depth_module_->model_weights(list);
  // Files list the final norm and the head last.
  std::rotate(list.stored.begin() + 1, list.stored.begin() + (head_VD_.defined() ? 3 : 2), list.stored.end());
  return list;
}

}  // namespace isobath
