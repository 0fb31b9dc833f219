// What must hold between the keys of `depth`.

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "config/check.h"
#include "config/routers.h"

namespace isobath {
namespace {

using Found = std::vector<Contradiction>;

void check_capacity(Config const& config, Found& found) {
  DepthConfig const& depth = config.depth;
  std::vector<double> const& capacity = depth.capacity;
  bool const skips = std::any_of(capacity.begin(), capacity.end(), [](double share) { return share < 1; });
  int64_t const routed = depth.offset < config.model.layers ? 1 + (config.model.layers - 1 - depth.offset) / depth.stride : 0;
  if (routed > 0 && static_cast<int64_t>(capacity.size()) > routed) {
    found.push_back(
        {{"depth.capacity", "model.layers", "depth.stride"},
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

// Of the routers of mod and of expert choice.
void check_router(DepthConfig const& depth, Found& found) {
  RouterKind const& router = router_kind(depth.router);
  bool const learns = !router.parameters.empty();
  if (learns && depth.gate == Gate::none && depth.causal != Causal::bce) {
    found.push_back(
        {{"depth.gate", "depth.causal", "depth.router"},
         "with gate none, only `causal: bce` gives the " + depth.router + " router a gradient (causal is " + depth.causal.name() + ")"});
  }
  if (depth.router == "random" && depth.causal != Causal::none) {
    found.push_back({{"depth.causal", "depth.router"},
                     "a random router leaves nothing to learn for `causal: " + depth.causal.name() + "`; write `causal: none`"});
  } else if (!learns && depth.causal == Causal::bce) {
    found.push_back({{"depth.causal", "depth.router"},
                     "the " + depth.router + " router has no parameters that `causal: bce` could train; write none or predictor"});
  }
  if (!router.takes_input && depth.router_input != RouterInputForm::raw) {
    found.push_back(
        {{"depth.router_input", "depth.router"}, "the " + depth.router + " router does not depend on depth.router_input; leave it out"});
  }
  if (!learns && depth.z_loss_weight > 0) {
    found.push_back({{"depth.z_loss_weight", "depth.router"},
                     "the " + depth.router + " router has no parameters that depth.z_loss_weight could train"});
  }
  if (depth.router == "random" && depth.score_noise > 0) {
    found.push_back({{"depth.score_noise", "depth.router"}, "a random router's scores are noise already; leave depth.score_noise out"});
  }
  if (depth.threshold_training && depth.causal != Causal::threshold) {
    found.push_back({{"depth.threshold_training", "depth.causal"},
                     "depth.threshold_training goes with `causal: threshold` (causal is " + depth.causal.name() + ")"});
  }
  if (depth.threshold_training && depth.score_noise > 0) {
    found.push_back({{"depth.score_noise", "depth.threshold_training"},
                     "depth.score_noise disturbs top-k's choice, and depth.threshold_training does not make it"});
  }
  if (depth.bce_detach && depth.causal != Causal::bce) {
    found.push_back(
        {{"depth.bce_detach", "depth.causal"}, "depth.bce_detach goes with `causal: bce` (causal is " + depth.causal.name() + ")"});
  }
  if (depth.gate_alpha != 1 && depth.gate != Gate::sigmoid) {
    found.push_back({{"depth.gate_alpha", "depth.gate"}, "depth.gate_alpha goes with `gate: sigmoid` (gate is " + depth.gate.name() + ")"});
  }
}

void check_mod(Config const& config, Found& found) {
  DepthConfig const& depth = config.depth;
  if (depth.offset >= config.model.layers) {
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

// Expert choice has routers where the other choices have a depth network.
void check_expert(DepthConfig const& depth, Found& found) {
  check_router(depth, found);
  DepthConfig const unset;
  std::pair<char const*, bool> const of_the_network[] = {{"depth.gate_training", depth.gate_training != unset.gate_training},
                                                         {"depth.balance", depth.balance != unset.balance},
                                                         {"depth.decide_after", depth.decide_after != unset.decide_after},
                                                         {"depth.price_rate", depth.price_rate != unset.price_rate}};
  for (auto const& [key, is_set] : of_the_network)
    if (is_set)
      found.push_back({{key, "depth.choice"}, std::string(key) + " is the depth network's; `choice: expert` has routers: leave it out"});
}

// The stacks that share weights must be alike.
void check_recursion(DepthConfig const& depth, int64_t layers, Found& found) {
  bool equal = true;
  std::string sizes;
  for (size_t e = 0; e < depth.exits.size(); ++e) {
    int64_t const size = (e + 1 < depth.exits.size() ? depth.exits[e + 1] : layers) - depth.exits[e];
    equal = equal && size == layers - depth.exits.back();
    sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
  }
  if (depth.exits.size() < 2)
    found.push_back({{"depth.recursion", "depth.exits"},
                     "depth.recursion shares weights among the stacks behind the first exit; with one exit there is but one"});
  else if (!equal)
    found.push_back({{"depth.recursion", "depth.exits", "model.layers"},
                     "depth.recursion needs stacks of equal size behind the first exit; they have " + sizes + " layers"});
}

void check_nested(Config const& config, Found& found) {
  DepthConfig const& depth = config.depth;
  ModelConfig const& model = config.model;
  std::vector<int64_t> const& exits = depth.exits;
  auto const refuse = [&](std::vector<std::string> const& keys, std::string const& reason) { found.push_back({keys, reason}); };
  if (exits.empty()) {
    refuse({"depth.exits", "depth.kind"}, "`depth.kind: nested` needs depth.exits, the numbers of layers after which a token may stop");
    return;
  }
  if (std::adjacent_find(exits.begin(), exits.end(), std::greater_equal<>()) != exits.end())
    refuse({"depth.exits"}, "depth.exits must ascend");
  else if (exits.back() >= model.layers)
    refuse({"depth.exits", "model.layers"}, "depth.exits (" + std::to_string(exits.back()) +
                                                ") must lie before the last of model.layers (" + std::to_string(model.layers) +
                                                "), which is a branch anyway");
  else if (depth.recursion)
    check_recursion(depth, model.layers, found);
  if (depth.decide_after > exits.front())
    refuse({"depth.decide_after", "depth.exits"}, "depth.decide_after (" + std::to_string(depth.decide_after) +
                                                      ") is past the first exit (" + std::to_string(exits.front()) + ")");
  if (depth.choice == BranchChoice::expert)
    check_expert(depth, found);
  else if (depth.router != "linear" && depth.router != "mlp" && depth.router != "random")
    refuse({"depth.router"}, "the depth network of `kind: nested` is linear, mlp or random (depth.router is " + depth.router + ")");
  if (depth.choice != BranchChoice::expert && depth.router == "random" &&
      (depth.gate_training != GateTraining::weight || depth.balance != Balance::none))
    refuse({"depth.router", "depth.gate_training", "depth.balance"},
           "a random choice of branches learns nothing: leave depth.gate_training and depth.balance out");
  if (depth.prefix > 0 && depth.choice != BranchChoice::sequence)
    refuse({"depth.prefix", "depth.choice"}, "depth.prefix goes with `choice: sequence` (choice is " + depth.choice.name() + ")");
  if (depth.choice == BranchChoice::sequence && resolved_prefix(model, depth) >= model.context)
    refuse({"depth.prefix", "model.context"}, "depth.prefix leaves nothing of model.context to decide for");
  if (depth.choice == BranchChoice::sequence && config.data.isolate_documents)
    refuse({"depth.choice", "data.isolate_documents"},
           "`choice: sequence` decides from the beginning of a sequence; with data.isolate_documents that is another document's");
  if (depth.target != RoutedPart::block) refuse({"depth.target"}, "`kind: nested` routes whole blocks; leave depth.target out");
  if (depth.skip_path != SkipPath::identity) refuse({"depth.skip_path"}, "`kind: nested` has no skip path; leave depth.skip_path out");
  if (depth.mean_depth > 0 &&
      (depth.mean_depth <= static_cast<double>(exits.front()) || depth.mean_depth >= static_cast<double>(model.layers)))
    refuse({"depth.mean_depth", "depth.exits", "model.layers"}, "depth.mean_depth must lie between the first exit (" +
                                                                    std::to_string(exits.front()) + ") and model.layers (" +
                                                                    std::to_string(model.layers) + ")");
  if (depth.capacity_warmup > 0 || !depth.capacity_random.empty())
    refuse({depth.capacity_warmup > 0 ? "depth.capacity_warmup" : "depth.capacity_random", "depth.kind"},
           "`kind: nested` has no capacity; depth.mean_depth says how deep tokens go");
}

void check_scaled(Config const& config, Found& found) {
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

std::vector<Contradiction> find_depth_contradictions(Config const& config) {
  Found found;
  if (config.depth.kind == "mod") check_mod(config, found);
  if (config.depth.kind == "nested") check_nested(config, found);
  if (config.depth.kind == "scaled") check_scaled(config, found);
  return found;
}

}  // namespace isobath
