#pragma once
// Routers in `depth`: how tokens are scored, what the score does to a block, and how generation decides.

#include <cstdint>
#include <string>

#include "config/choice.h"
#include "config/sections/model.h"

namespace isobath {

enum class RouterInputForm { raw, normalised };
template <>
struct ChoiceNames<RouterInputForm> {
  static constexpr std::array names{"raw", "normalised"};
};
enum class Gate { raw, sigmoid, sigmoid2, tanh, none };
template <>
struct ChoiceNames<Gate> {
  static constexpr std::array names{"raw", "sigmoid", "sigmoid2", "tanh", "none"};
};
enum class Causal { none, bce, predictor, threshold };
template <>
struct ChoiceNames<Causal> {
  static constexpr std::array names{"none", "bce", "predictor", "threshold"};
};

enum class RouterInit { random, zero };
template <>
struct ChoiceNames<RouterInit> {
  static constexpr std::array names{"random", "zero"};
};

struct RouterOptions {
  std::string router = "linear";  // a row of config/sections/routers.h
  Choice<RouterInputForm> router_input = RouterInputForm::raw;
  int64_t router_width = 0;  // 0: auto
  Choice<RouterInit> router_init = RouterInit::random;
  double router_lr = 1;  // factor on train.lr
  double predictor_lr = 1;
  double router_weight_decay = 0;
  double z_loss_weight = 0;
  double score_noise = 0;
  Choice<Gate> gate = Gate::raw;
  double gate_alpha = 1;
  Choice<Causal> causal = Causal::predictor;
  bool threshold_training = false;
  double bce_weight = 0.01;
  bool bce_detach = false;
  int64_t predictor_width = 0;    // 0: auto
  double threshold_decay = 0.99;  // of the running threshold of none and threshold
};

// Values that `auto` stands for: max(8, width / 4).
int64_t resolved_router_width(ModelConfig const&, RouterOptions const&);
int64_t resolved_predictor_width(ModelConfig const&, RouterOptions const&);

}  // namespace isobath
