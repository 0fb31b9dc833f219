#include "config/sections/depth_scaled.h"

#include <cmath>

#include "config/row.h"
#include "config/sections/sections.h"

namespace isobath {
namespace {

void check_scaled(Config const& config, std::vector<Contradiction>& found) {
  DepthConfig const& depth = config.depth;
  auto const refuse = [&](std::vector<std::string> const& keys, std::string const& reason) { found.push_back({keys, reason}); };
  bool const asks_depth = depth.mean_depth > 0;
  if (asks_depth == (depth.skip_below > 0))
    refuse({"depth.mean_depth", "depth.skip_below", "depth.kind"},
           "`depth.kind: scaled` takes depth.mean_depth, how many layers are left, or depth.skip_below, which factors go; one of the two");
  if (asks_depth && depth.mean_depth >= static_cast<double>(config.model.layers))
    refuse({"depth.mean_depth", "model.layers"},
           "depth.mean_depth must be less than model.layers (" + std::to_string(config.model.layers) + ")");
  if (asks_depth && depth.scale != ScaleBy::token && depth.mean_depth != std::floor(depth.mean_depth))
    refuse({"depth.mean_depth", "depth.scale"},
           "with `scale: " + depth.scale.name() + "` whole layers go: depth.mean_depth must be a whole number");
  if (depth.scale == ScaleBy::token && (depth.scale_init <= 0 || depth.scale_init >= 1))
    refuse({"depth.scale_init", "depth.scale"}, "a token's factor is a sigmoid: depth.scale_init must lie between 0 and 1");
  if (depth.harden_after <= 0 || depth.harden_after >= 1)
    refuse({"depth.harden_after"}, "depth.harden_after must lie within the run: before, factors are learned, behind, the others are used");
  if (depth.target != RoutedPart::block) refuse({"depth.target"}, "`kind: scaled` scales whole blocks; leave depth.target out");
  if (depth.skip_path != SkipPath::identity) refuse({"depth.skip_path"}, "`kind: scaled` has no skip path; leave depth.skip_path out");
  if (depth.skipped_kv == SkippedKv::keep && depth.scale != ScaleBy::token)
    refuse({"depth.skipped_kv", "depth.scale"}, "depth.skipped_kv: keep goes with `scale: token`; a layer that is gone asks for no keys");
  if (depth.capacity_warmup > 0 || !depth.capacity_random.empty())
    refuse({depth.capacity_warmup > 0 ? "depth.capacity_warmup" : "depth.capacity_random", "depth.kind"},
           "`kind: scaled` has no capacity; depth.mean_depth says how deep tokens go");
}

}  // namespace

std::vector<ConfigField> scaled_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(depth.scale), choice, identity,
        "scaled: what has a factor. layer: each layer (ReZero); channel: each channel of a layer (LayerScale); token: each token in each "
        "layer, "
        "computed from its state (GateSkip)."),
      R(KEY(depth.scale_init), real, identity, "scaled: where factors start.").between(0, 1),
      R(KEY(depth.scale_weight), real, schedule, "scaled: weight of the cost of factors whose sum is above mean_depth.").between(0, 1000),
      R(KEY(depth.skip_below), real, identity, "scaled: factors below this are skipped, however many; instead of mean_depth.")
          .above(0)
          .between(0, 1)
          .zero_is("off"),
      R(KEY(depth.harden_after), percent, schedule, "scaled: share of the run after which small factors become skips."),
  };
}

DepthKindOptions scaled_kind() { return {"scaled", "a learned factor on what each layer adds", check_scaled}; }

}  // namespace isobath
