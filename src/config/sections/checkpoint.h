#pragma once
// `checkpoint`: how often a run is saved.

#include <cstdint>

#include "config/choice.h"
#include "core/units.h"

namespace isobath {

enum class BestBy { loss, accuracy };
template <>
struct ChoiceNames<BestBy> {
  static constexpr std::array names{"loss", "accuracy"};
};

struct CheckpointConfig {
  Duration every{25, Unit::percent};
  int64_t keep = 2;
  Choice<BestBy> best = BestBy::loss;
};

}  // namespace isobath
