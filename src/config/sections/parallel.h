#pragma once
// `parallel`: several processes (ranks) that train one run together.

#include <cstdint>

#include "config/choice.h"
#include "core/units.h"

namespace isobath {

enum class Sharding { none, optimizer };
template <>
struct ChoiceNames<Sharding> {
  static constexpr std::array names{"none", "optimizer"};
};

struct ParallelConfig {
  Choice<Sharding> shard = Sharding::none;
  int64_t bucket_bytes = 4 << 20;
  Duration timeout{60, Unit::second};
  int64_t check_weights = 0;  // steps; 0: off
  bool checks_weights_at(int64_t step) const { return check_weights > 0 && step % check_weights == 0; }
};

}  // namespace isobath
