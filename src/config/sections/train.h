#pragma once
// `train`: length, batches, learning rate and optimizer.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/choice.h"
#include "config/sections/model.h"
#include "core/units.h"

namespace isobath {

enum class LearningRateSchedule { cosine, wsd };
template <>
struct ChoiceNames<LearningRateSchedule> {
  static constexpr std::array names{"cosine", "wsd"};
};

// Parts of a model whose weights `train.freeze` keeps as they are.
inline constexpr std::array frozen_parts{"blocks", "embeddings", "norms"};

// Distillation: besides the usual loss, the divergence from the distribution that a dense model gives to the next token.
struct DistillConfig {
  std::string from;  // empty: off
  double weight = 1;
  double temperature = 1;
  int64_t top = 0;                     // 0: all
  std::optional<ModelConfig> teacher;  // no key: the sizes of `from`, which load_experiment reads (trainer/pretrained)
};

// LoRA: the matrices of blocks stay fixed, and an update of low rank is trained beside each.
struct LoraConfig {
  int64_t rank = 0;  // 0: off
  std::vector<std::string> targets{"attention", "mlp"};
  bool has(std::string_view part) const { return rank > 0 && std::find(targets.begin(), targets.end(), part) != targets.end(); }
};

struct TrainConfig {
  std::string init_from;             // empty: random initial values
  std::vector<int64_t> init_layers;  // empty: all of them
  LoraConfig lora;
  std::vector<std::string> freeze;
  DistillConfig distill;
  Duration budget{1000, Unit::step};
  int64_t batch_tokens = 1024;
  int64_t micro_batch_tokens = 0;  // 0: auto
  double lr = 3e-3;
  double min_lr = 0.1;  // share of lr
  Choice<LearningRateSchedule> schedule = LearningRateSchedule::cosine;
  Duration warmup{5, Unit::percent};
  Duration decay{20, Unit::percent};  // the last part of `wsd`
  double weight_decay = 0.1;
  std::vector<double> betas{0.9, 0.95};
  double eps = 1e-8;
  double clip_norm = 1.0;
  Duration log_every{10, Unit::step};
  int64_t threads = 0;   // 0: auto
  int64_t patience = 0;  // 0: off
};

}  // namespace isobath
