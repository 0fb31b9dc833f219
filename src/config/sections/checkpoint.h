#pragma once
// `checkpoint`: how often a run is saved.

#include <cstdint>

#include "core/units.h"

namespace isobath {

struct CheckpointConfig {
  Duration every{25, Unit::percent};
  int64_t keep = 2;
};

}  // namespace isobath
