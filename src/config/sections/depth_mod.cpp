#include "config/sections/depth_mod.h"

#include <algorithm>
#include <functional>

#include "config/row.h"
#include "config/sections/sections.h"

namespace isobath {
namespace {

void check_capacity(Config const& config, std::vector<Contradiction>& found) {
  DepthConfig const& depth = config.depth;
  std::vector<double> const& capacity = depth.capacity;
  bool const skips = std::any_of(capacity.begin(), capacity.end(), [](double share) { return share < 1; });
  auto const routed = std::ssize(routed_blocks(config.model, depth));
  if (routed > 0 && static_cast<int64_t>(capacity.size()) > routed) {
    found.push_back(
        {{"depth.capacity", "model.layers", "depth.stride", "depth.layers"},
         "depth.capacity has " + std::to_string(capacity.size()) + " entries for " + std::to_string(routed) + " routed blocks"});
  }
  if (!skips && depth.skip_path != SkipPath::identity) {
    found.push_back({{"depth.skip_path", "depth.capacity"}, "with depth.capacity 1 no token is skipped: a skip path would do nothing"});
  }
  if (!skips && depth.capacity_warmup > 0) {
    found.push_back({{"depth.capacity_warmup", "depth.capacity"}, "with depth.capacity 1 there is nothing to warm up"});
  }
  std::vector<double> const& random = depth.capacity_random;
  bool const range = random.size() == 2 && random[0] > 0 && random[0] < random[1];
  if (!random.empty() && !range) {
    found.push_back({{"depth.capacity_random"}, "depth.capacity_random takes two shares, the lower one first: [6.25%, 50%]"});
  } else if (range && capacity.size() > 1) {
    found.push_back({{"depth.capacity_random", "depth.capacity"},
                     "depth.capacity_random draws one capacity for all routed blocks; it cannot go with a depth.capacity of each block"});
  }
  for (char const* key : {"depth.capacity_warmup", "depth.capacity_random"}) {
    bool const asked = key == std::string("depth.capacity_warmup") ? depth.capacity_warmup > 0 : !random.empty();
    if (!asked || !depth.threshold_training) continue;
    found.push_back({{key, "depth.threshold_training"},
                     std::string(key) + " moves the capacity of top-k; depth.threshold_training does not select by it"});
  }
}

void check_mod(Config const& config, std::vector<Contradiction>& found) {
  DepthConfig const& depth = config.depth;
  std::vector<int64_t> const& layers = depth.layers;
  if (std::adjacent_find(layers.begin(), layers.end(), std::greater_equal<>()) != layers.end())
    found.push_back({{"depth.layers"}, "depth.layers names routed blocks in ascending order, each once"});
  if (!layers.empty() && layers.back() >= config.model.layers)
    found.push_back(
        {{"depth.layers", "model.layers"},
         "depth.layers names block " + std::to_string(layers.back()) + ", the model has 0 to " + std::to_string(config.model.layers - 1)});
  if (layers.empty() && depth.offset >= config.model.layers) {
    found.push_back({{"depth.offset", "depth.kind", "model.layers"},
                     "depth.offset (" + std::to_string(depth.offset) + ") is past the last of " + std::to_string(config.model.layers) +
                         " layers: no block would be routed"});
  }
  check_capacity(config, found);
  check_router(depth, found);
  if (depth.skip_rank > 0 && depth.skip_path != SkipPath::low_rank) {
    found.push_back({{"depth.skip_rank", "depth.skip_path"},
                     "depth.skip_rank goes with `skip_path: low_rank` (skip_path is " + depth.skip_path.name() + ")"});
  }
  if (depth.skipped_kv == SkippedKv::keep && depth.target == RoutedPart::mlp) {
    found.push_back(
        {{"depth.skipped_kv", "depth.target"}, "depth.skipped_kv: keep goes with a routed attention; with target mlp no token skips it"});
  }
}

}  // namespace

std::vector<int64_t> routed_blocks(ModelConfig const& model, ModOptions const& depth) {
  if (!depth.layers.empty()) return depth.layers;
  std::vector<int64_t> blocks;
  for (int64_t block = depth.offset; block < model.layers; block += depth.stride) blocks.push_back(block);
  return blocks;
}

int64_t resolved_skip_rank(ModelConfig const& model, ModOptions const& depth) {
  return depth.skip_rank > 0 ? depth.skip_rank : std::max<int64_t>(1, model.width / 16);
}

std::vector<ConfigField> mod_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(depth.capacity), fraction_list, identity,
        "Share of each sequence that a routed block lets through; a list is stretched over the routed blocks, from the first to the last.")
          .above(0),
      R(KEY(depth.capacity_warmup), percent, schedule,
        "Share of the run over which the share of tokens in routed layers falls from 100 % to what is planned; mod, and nested with "
        "choice: expert."),
      R(KEY(depth.capacity_random), fraction_list, identity,
        "[lowest, highest]: every step of training draws its capacity between them, so that one model serves many.")
          .above(0)
          .zero_is("off"),
      R(KEY(depth.layers), integer_list, identity,
        "The blocks that are routed, counted from 0 and ascending: [12, 14, 20]. Not given: every stride-th from offset on.")
          .between(0, 4095)
          .zero_is("auto"),
      R(KEY(depth.stride), integer, identity, "Every stride-th block is routed.").between(1, 4096),
      R(KEY(depth.offset), integer, identity, "The first routed block, counted from 0.").between(0, 4095),
      R(KEY(depth.target), choice, identity,
        "What is routed. block: the whole block; attention: its attention alone, every token goes through the MLP; mlp: its MLP alone, "
        "every "
        "token goes through attention."),
      R(KEY(depth.skip_path), choice, identity,
        "What a skipped token gets instead of the block. identity: nothing, it stays as it is; linear: a linear map of its normalised "
        "state is "
        "added; low_rank: the same with a map of rank skip_rank."),
      R(KEY(depth.skip_rank), integer, identity, "Rank of skip_path: low_rank; auto: width / 16.").between(1, 1 << 20).zero_is("auto"),
      R(KEY(depth.skipped_kv), choice, identity,
        "What becomes of skipped tokens in attention. drop: skipped tokens have no keys or values in this layer; keep: later tokens can "
        "still "
        "attend to them."),
  };
}

DepthKindOptions mod_kind() { return {"mod", "Mixture-of-Depths", check_mod}; }

}  // namespace isobath
