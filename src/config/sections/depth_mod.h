#pragma once
// `depth` of kind mod: blocks that let only a share of the tokens through.

#include <cstdint>
#include <vector>

#include "config/choice.h"
#include "config/sections/model.h"

namespace isobath {

enum class RoutedPart { block, attention, mlp };
template <>
struct ChoiceNames<RoutedPart> {
  static constexpr std::array names{"block", "attention", "mlp"};
};
enum class SkipPath { identity, linear, low_rank };
template <>
struct ChoiceNames<SkipPath> {
  static constexpr std::array names{"identity", "linear", "low_rank"};
};
enum class SkippedKv { drop, keep };
template <>
struct ChoiceNames<SkippedKv> {
  static constexpr std::array names{"drop", "keep"};
};

struct ModOptions {
  std::vector<double> capacity{0.125};  // interpolated over the routed layers
  double capacity_warmup = 0;           // share of the run
  std::vector<double> capacity_random;  // lowest and highest; empty: off
  std::vector<int64_t> layers;          // that are routed; empty: by stride and offset
  int64_t stride = 2;
  int64_t offset = 1;
  Choice<RoutedPart> target = RoutedPart::block;
  Choice<SkipPath> skip_path = SkipPath::identity;
  int64_t skip_rank = 0;  // 0: auto
  Choice<SkippedKv> skipped_kv = SkippedKv::drop;
};

std::vector<int64_t> routed_blocks(ModelConfig const&, ModOptions const&);  // ascending
int64_t resolved_skip_rank(ModelConfig const&, ModOptions const&);          // what `auto` stands for: max(1, width / 16)

}  // namespace isobath
