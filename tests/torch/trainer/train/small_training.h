#pragma once
// Small fp64 models of every kind of depth, and runs that train them step by step, whole or in parts.

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/torch/reference.h"
#include "trainer/train/learner.h"
#include "trainer/train/step.h"

namespace isobath::test {

constexpr int64_t trained_steps = 10;  // factors become skips after half of them

struct DepthCase {
  char const* label;
  std::function<void(DepthConfig&)> set;
};

inline std::vector<DepthCase> depth_cases() {
  auto const mod = [](Causal causal, bool by_threshold = false) {
    return [=](DepthConfig& depth) {
      depth.kind = "mod";
      depth.capacity = {0.25};
      depth.causal = causal;
      depth.threshold_training = by_threshold;
      depth.score_noise = by_threshold ? 0 : 0.3;
      depth.z_loss_weight = 0.01;
    };
  };
  auto const nested = [](BranchChoice choice, GateTraining training, Balance balance) {
    return [=](DepthConfig& depth) {
      depth.kind = "nested";
      depth.exits = {1, 2};
      depth.choice = choice;
      depth.gate_training = training;
      depth.balance = balance;
      depth.mean_depth = 2.2;
    };
  };
  auto const expert = [](Causal causal) {
    return [=](DepthConfig& depth) {
      depth.kind = "nested";
      depth.exits = {1, 2};
      depth.choice = BranchChoice::expert;
      depth.gate = Gate::sigmoid;
      depth.causal = causal;
    };
  };
  auto const scaled = [](ScaleBy scale) {
    return [=](DepthConfig& depth) {
      depth.kind = "scaled";
      depth.scale = scale;
      depth.mean_depth = 2;
      depth.harden_after = 0.5;
    };
  };
  return {
      {"dense", [](DepthConfig&) {}},
      {"mod bce", mod(Causal::bce)},
      {"mod predictor", mod(Causal::predictor)},
      {"mod threshold", mod(Causal::threshold)},
      {"mod none", mod(Causal::none)},
      {"mod trained by threshold", mod(Causal::threshold, true)},
      {"mod random",
       [](DepthConfig& depth) { depth.kind = "mod", depth.router = "random", depth.gate = Gate::none, depth.causal = Causal::none; }},
      {"nested token, weight, balance loss", nested(BranchChoice::token, GateTraining::weight, Balance::loss)},
      {"nested token, gumbel, balance bias", nested(BranchChoice::token, GateTraining::gumbel, Balance::bias)},
      {"nested sequence, gumbel, balance loss", nested(BranchChoice::sequence, GateTraining::gumbel, Balance::loss)},
      {"nested sequence, hindsight", nested(BranchChoice::sequence, GateTraining::hindsight, Balance::none)},
      {"nested token, hindsight", nested(BranchChoice::token, GateTraining::hindsight, Balance::bias)},
      {"nested expert, threshold", expert(Causal::threshold)},
      {"nested expert, predictor", expert(Causal::predictor)},
      {"scaled layer", scaled(ScaleBy::layer)},
      {"scaled channel", scaled(ScaleBy::channel)},
      {"scaled token", scaled(ScaleBy::token)},
  };
}

// A run, or one rank of it.
struct SmallTraining {
  Ranks const& ranks;
  std::shared_ptr<LanguageModel> model;
  Optimizers optimizers;
  MetricWindow window;
  StepSettings settings;

  // type: at::kDouble, at::kFloat, or at::kBFloat16 for matrix products and activations in it and weights in fp32.
  SmallTraining(DepthCase const& depth_case, int64_t micro_sequences, Ranks const& of = one_process(), ParallelConfig const& parallel = {},
                at::ScalarType type = at::kDouble)
      : ranks(of),
        model(make(depth_case, type)),
        optimizers(make_optimizers(*model, unclipped(), parallel, ranks)),
        window(static_cast<int64_t>(model->plan().routed_layers().size()), at::kCPU) {
    DepthConfig const& depth = model->depth_config();
    settings = {micro_sequences, depth.bce_weight, 1, depth.z_loss_weight, depth.threshold_training};
    settings.ranks = ranks.across();
  }
  static std::shared_ptr<LanguageModel> make(DepthCase const& depth_case, at::ScalarType type) {
    Shape shape = small_shape("dense");
    shape.model.layers = 3;
    depth_case.set(shape.depth);
    auto model = make_model(shape, type == at::kBFloat16 ? at::kFloat : type);
    if (type == at::kBFloat16) model->compute_in_bfloat16();
    model->train();
    return model;
  }
  // Clipping rounds the norm of the gradients to fp32.
  static TrainConfig unclipped() {
    TrainConfig train;
    train.clip_norm = 0;
    return train;
  }
  void step(int64_t number) {
    at::Tensor const tokens_BT = random_tokens(4, 16, model->vocab_size(), 100 + static_cast<uint64_t>(number));
    at::Tensor const targets_BT = tokens_BT.roll(-1, 1);
    if (number % 2 == 1) {  // as examples have it: of the first sequence only the last tokens are targets, of the third none
      targets_BT[0].narrow(0, 0, 13).fill_(-100);
      targets_BT[2].fill_(-100);
    }
    auto const [first, count] = batch_share(4, ranks.rank(), ranks.size());
    int64_t const targets = targets_BT.ne(-100).sum().item<int64_t>();
    DeviceBatch const batch{count, targets, tokens_BT.narrow(0, first, count), targets_BT.narrow(0, first, count), {}, {}, first, 4};
    double const total = trained_steps;
    train_step(*model, optimizers, batch, settings,
               {number, static_cast<double>(number) / total, static_cast<double>(number + 1) / total, 1e-2}, window);
  }
};

inline std::map<std::string, at::Tensor> stored_copies(LanguageModel const& model) {
  std::map<std::string, at::Tensor> copies;
  for (auto const& stored : model.stored()) copies[stored.name] = stored.tensor.clone();
  return copies;
}

}  // namespace isobath::test
