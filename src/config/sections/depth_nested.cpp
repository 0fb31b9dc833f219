#include "config/sections/depth_nested.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "config/row.h"
#include "config/sections/sections.h"

namespace isobath {
namespace {

// Expert choice has routers where the other choices have a depth network.
void check_expert(DepthConfig const& depth, std::vector<Contradiction>& found) {
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

// The stacks that share weights must have equally many layers.
void check_recursion(DepthConfig const& depth, int64_t layers, std::vector<Contradiction>& found) {
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

void check_exits(Config const& config, std::vector<Contradiction>& found) {
  DepthConfig const& depth = config.depth;
  ModelConfig const& model = config.model;
  std::vector<int64_t> const& exits = config.depth.exits;
  auto const refuse = [&](std::vector<std::string> const& keys, std::string const& reason) { found.push_back({keys, reason}); };
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
  if (depth.mean_depth > 0 &&
      (depth.mean_depth <= static_cast<double>(exits.front()) || depth.mean_depth >= static_cast<double>(model.layers)))
    refuse({"depth.mean_depth", "depth.exits", "model.layers"}, "depth.mean_depth must lie between the first exit (" +
                                                                    std::to_string(exits.front()) + ") and model.layers (" +
                                                                    std::to_string(model.layers) + ")");
}

// What decides the branch: the depth network, or the routers of expert choice.
void check_decision(Config const& config, std::vector<Contradiction>& found) {
  DepthConfig const& depth = config.depth;
  auto const refuse = [&](std::vector<std::string> const& keys, std::string const& reason) { found.push_back({keys, reason}); };
  if (depth.choice == BranchChoice::expert)
    check_expert(depth, found);
  else if (depth.router != "linear" && depth.router != "mlp" && depth.router != "random")
    refuse({"depth.router"}, "the depth network of `kind: nested` is linear, mlp or random (depth.router is " + depth.router + ")");
  if (depth.choice != BranchChoice::expert && depth.router == "random" &&
      (depth.gate_training != GateTraining::weight || depth.balance != Balance::none))
    refuse({"depth.router", "depth.gate_training", "depth.balance"},
           "a random choice of branches learns nothing: leave depth.gate_training and depth.balance out");
}

void check_sequence_choice(Config const& config, std::vector<Contradiction>& found) {
  DepthConfig const& depth = config.depth;
  ModelConfig const& model = config.model;
  auto const refuse = [&](std::vector<std::string> const& keys, std::string const& reason) { found.push_back({keys, reason}); };
  if (depth.prefix > 0 && depth.choice != BranchChoice::sequence)
    refuse({"depth.prefix", "depth.choice"}, "depth.prefix goes with `choice: sequence` (choice is " + depth.choice.name() + ")");
  if (depth.choice == BranchChoice::sequence && resolved_prefix(model, depth) >= model.context)
    refuse({"depth.prefix", "model.context"}, "depth.prefix leaves nothing of model.context to decide for");
  if (depth.choice == BranchChoice::sequence && config.data.isolates()) {
    std::string const isolated = config.data.tasks.empty() ? "data.isolate_documents" : "data.tasks";
    refuse({"depth.choice", isolated},
           "`choice: sequence` decides from the beginning of a sequence; with " + isolated + " that is another document's");
  }
}

void check_nested(Config const& config, std::vector<Contradiction>& found) {
  DepthConfig const& depth = config.depth;
  auto const refuse = [&](std::vector<std::string> const& keys, std::string const& reason) { found.push_back({keys, reason}); };
  if (depth.exits.empty()) {
    refuse({"depth.exits", "depth.kind"}, "`depth.kind: nested` needs depth.exits, the numbers of layers after which a token may stop");
    return;
  }
  check_exits(config, found);
  check_decision(config, found);
  check_sequence_choice(config, found);
  if (depth.target != RoutedPart::block) refuse({"depth.target"}, "`kind: nested` routes whole blocks; leave depth.target out");
  if (depth.skip_path != SkipPath::identity) refuse({"depth.skip_path"}, "`kind: nested` has no skip path; leave depth.skip_path out");
  if (!depth.capacity_random.empty())
    refuse({"depth.capacity_random", "depth.kind"}, "`kind: nested` has no capacity; depth.mean_depth says how deep tokens go");
  if (depth.capacity_warmup > 0 && depth.choice != BranchChoice::expert)
    refuse({"depth.capacity_warmup", "depth.choice"}, "depth.capacity_warmup goes with `choice: expert`: the others have no capacity");
  if (depth.capacity_warmup > 0 && depth.threshold_training)
    refuse({"depth.capacity_warmup", "depth.threshold_training"},
           "depth.capacity_warmup moves the capacity of top-k; depth.threshold_training does not select by it");
}

}  // namespace

int64_t resolved_decide_after(NestedOptions const& depth) {
  return depth.decide_after > 0 || depth.exits.empty() ? depth.decide_after : depth.exits.front();
}

int64_t resolved_prefix(ModelConfig const& model, NestedOptions const& depth) {
  return depth.prefix > 0 ? depth.prefix : std::max<int64_t>(1, model.context / 8);
}

std::vector<ConfigField> nested_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(depth.exits), integer_list, identity,
        "nested: numbers of layers after which a token may stop, ascending; the last layer is one more.")
          .between(1, 4095)
          .zero_is("none"),
      R(KEY(depth.decide_after), integer, identity, "nested: layers before the depth network; auto: up to the first exit.")
          .between(1, 4095)
          .zero_is("auto"),
      R(KEY(depth.choice), choice, identity,
        "nested: who gets a branch. token: each token its own; sequence: all tokens of a sequence the same, decided from its beginning; "
        "expert: a router at each exit picks the tokens that go on, as mod does for a block."),
      R(KEY(depth.prefix), integer, identity,
        "nested: tokens a sequence's branch is decided from, which themselves go all the way; auto: context / 8.")
          .between(1, 1 << 24)
          .zero_is("auto"),
      R(KEY(depth.gate_training), choice, identity,
        "nested: how the depth network learns. weight: its probability of going on weighs what deeper layers add; gumbel: training draws "
        "branches, with a straight-through gradient; hindsight: from the loss of every branch, all of which training runs."),
      R(KEY(depth.hindsight_temperature), real, schedule, "nested: softens the best branch in hindsight, in nats; 0 takes the best alone.")
          .between(0, 100),
      R(KEY(depth.balance), choice, identity,
        "nested: what keeps all branches in use. none: nothing; loss: a term of the loss (Switch Transformer); bias: biases that rise "
        "where "
        "tokens are missing."),
      R(KEY(depth.balance_weight), real, schedule, "nested: weight of balance: loss; step of balance: bias.").between(0, 1000),
      R(KEY(depth.price_rate), real, schedule, "nested: how fast the price of depth moves that steers to mean_depth.").between(0, 100),
      R(KEY(depth.recursion), boolean, identity, "nested: the stacks of layers behind the first exit share one stack's weights."),
      R(KEY(depth.exit_norms), boolean, identity, "nested: each branch has a final norm of its own."),
  };
}

DepthKindOptions nested_kind() { return {"nested", "branches of different depth that share their first layers", check_nested}; }

}  // namespace isobath
