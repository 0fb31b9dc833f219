#pragma once
// `depth` of kind scaled: a learned factor on what each layer adds.

#include "config/choice.h"

namespace isobath {

enum class ScaleBy { layer, channel, token };
template <>
struct ChoiceNames<ScaleBy> {
  static constexpr std::array names{"layer", "channel", "token"};
};

struct ScaledOptions {
  Choice<ScaleBy> scale = ScaleBy::layer;
  double scale_init = 0.9;
  double scale_weight = 1;
  double skip_below = 0;      // 0: off
  double harden_after = 0.5;  // share of the run
};

}  // namespace isobath
