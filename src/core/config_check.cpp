#include "core/config_check.h"

#include <algorithm>
#include <functional>
#include <set>
#include <sstream>

#include "core/config_routers.h"
#include "core/config_values.h"

namespace isobath {
namespace {

using Found = std::vector<Contradiction>;

std::string value_of(int64_t value) { return std::to_string(value); }

void check_name(Config const& config, Found& found) {
  std::string const& name = config.name;
  bool bad = name.empty() || name.front() == '/' || name.back() == '/' || name.find("//") != std::string::npos;
  std::istringstream parts(name);
  for (std::string part; std::getline(parts, part, '/');) bad = bad || part == "." || part == "..";
  for (char const c : name) bad = bad || static_cast<unsigned char>(c) < 0x20 || c == '\\' || c == 0x7f;
  if (bad) {
    found.push_back({{"name"}, "name '" + name + "' is no folder below run_dir (words joined by single '/', no '..', not absolute)"});
  }
}

void check_device(std::string const& device, Found& found) {
  std::string const index = device.starts_with("cuda:") ? device.substr(5) : "0";
  bool const is_index = index.size() == 1 || index.size() == 2;
  bool const digits = index.find_first_not_of("0123456789") == std::string::npos;
  if (device == "auto" || device == "cpu" || device == "cuda" || (device.starts_with("cuda:") && is_index && digits)) return;
  found.push_back({{"device"}, "device '" + device + "' is none of auto, cpu, cuda, cuda:0, cuda:1, ..."});
}

void check_model(ModelConfig const& model, Found& found) {
  if (model.width % model.heads != 0) {
    found.push_back({{"model.heads", "model.width"},
                     "model.heads (" + value_of(model.heads) + ") does not divide model.width (" + value_of(model.width) + ")"});
  } else if (model.width / model.heads % 2 != 0) {
    found.push_back({{"model.heads", "model.width"},
                     "model.width / model.heads is " + value_of(model.width / model.heads) + "; rotary embeddings need an even head size"});
  }
  if (model.heads % model.kv_heads != 0) {
    found.push_back({{"model.kv_heads", "model.heads"},
                     "model.kv_heads (" + value_of(model.kv_heads) + ") does not divide model.heads (" + value_of(model.heads) + ")"});
  }
}

void check_capacity(Config const& config, Found& found) {
  DepthConfig const& depth = config.depth;
  std::vector<double> const& capacity = depth.capacity;
  bool const skips = std::any_of(capacity.begin(), capacity.end(), [](double share) { return share < 1; });
  int64_t const routed = depth.offset < config.model.layers ? 1 + (config.model.layers - 1 - depth.offset) / depth.stride : 0;
  if (routed > 0 && static_cast<int64_t>(capacity.size()) > routed) {
    found.push_back(
        {{"depth.capacity", "model.layers", "depth.stride"},
         "depth.capacity has " + value_of(static_cast<int64_t>(capacity.size())) + " entries for " + value_of(routed) + " routed blocks"});
  }
  if (!skips && depth.skip_path != "identity") {
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
    refuse({"depth.exits", "model.layers"}, "depth.exits (" + value_of(exits.back()) + ") must lie before the last of model.layers (" +
                                                value_of(model.layers) + "), which is a branch anyway");
  if (depth.decide_after > exits.front())
    refuse({"depth.decide_after", "depth.exits"},
           "depth.decide_after (" + value_of(depth.decide_after) + ") is past the first exit (" + value_of(exits.front()) + ")");
  if (depth.router != "linear" && depth.router != "mlp" && depth.router != "random")
    refuse({"depth.router"}, "the depth network of `kind: nested` is linear, mlp or random (depth.router is " + depth.router + ")");
  if (depth.router == "random" && (depth.gate_training != "weight" || depth.balance != "none"))
    refuse({"depth.router", "depth.gate_training", "depth.balance"},
           "a random choice of branches learns nothing: leave depth.gate_training and depth.balance out");
  if (depth.prefix > 0 && depth.choice != "sequence")
    refuse({"depth.prefix", "depth.choice"}, "depth.prefix goes with `choice: sequence` (choice is " + depth.choice + ")");
  if (depth.choice == "sequence" && resolved_prefix(model, depth) >= model.context)
    refuse({"depth.prefix", "model.context"}, "depth.prefix leaves nothing of model.context to decide for");
  if (depth.choice == "sequence" && config.data.isolate_documents)
    refuse({"depth.choice", "data.isolate_documents"},
           "`choice: sequence` decides from the beginning of a sequence; with data.isolate_documents that is another document's");
  if (depth.target != "block") refuse({"depth.target"}, "`kind: nested` routes whole blocks; leave depth.target out");
  if (depth.skip_path != "identity") refuse({"depth.skip_path"}, "`kind: nested` has no skip path; leave depth.skip_path out");
  if (depth.mean_depth > 0 &&
      (depth.mean_depth <= static_cast<double>(exits.front()) || depth.mean_depth >= static_cast<double>(model.layers)))
    refuse({"depth.mean_depth", "depth.exits", "model.layers"}, "depth.mean_depth must lie between the first exit (" +
                                                                    value_of(exits.front()) + ") and model.layers (" +
                                                                    value_of(model.layers) + ")");
  if (depth.capacity_warmup > 0 || !depth.capacity_random.empty())
    refuse({depth.capacity_warmup > 0 ? "depth.capacity_warmup" : "depth.capacity_random", "depth.kind"},
           "`kind: nested` has no capacity; depth.mean_depth says how deep tokens go");
}

void check_depth(Config const& config, Found& found) {
  DepthConfig const& depth = config.depth;
  if (depth.kind == "nested") check_nested(config, found);
  if (depth.kind != "mod") return;
  if (depth.offset >= config.model.layers) {
    found.push_back({{"depth.offset", "depth.kind", "model.layers"},
                     "depth.offset (" + value_of(depth.offset) + ") is past the last of " + value_of(config.model.layers) +
                         " layers: no block would be routed"});
  }
  check_capacity(config, found);
  RouterKind const& router = router_kind(depth.router);
  bool const learns = !router.parameters.empty();
  if (learns && depth.gate == "none" && depth.causal != "bce") {
    found.push_back(
        {{"depth.gate", "depth.causal", "depth.router"},
         "with gate none, only `causal: bce` gives the " + depth.router + " router a gradient (causal is " + depth.causal + ")"});
  }
  if (depth.router == "random" && depth.causal != "none") {
    found.push_back({{"depth.causal", "depth.router"},
                     "a random router leaves nothing to learn for `causal: " + depth.causal + "`; write `causal: none`"});
  } else if (!learns && depth.causal == "bce") {
    found.push_back({{"depth.causal", "depth.router"},
                     "the " + depth.router + " router has no parameters that `causal: bce` could train; write none or predictor"});
  }
  if (!router.takes_input && depth.router_input != "raw") {
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
  if (depth.threshold_training && depth.causal != "threshold") {
    found.push_back({{"depth.threshold_training", "depth.causal"},
                     "depth.threshold_training goes with `causal: threshold` (causal is " + depth.causal + ")"});
  }
  if (depth.threshold_training && depth.score_noise > 0) {
    found.push_back({{"depth.score_noise", "depth.threshold_training"},
                     "depth.score_noise disturbs top-k's choice, and depth.threshold_training does not make it"});
  }
  if (depth.bce_detach && depth.causal != "bce") {
    found.push_back({{"depth.bce_detach", "depth.causal"}, "depth.bce_detach goes with `causal: bce` (causal is " + depth.causal + ")"});
  }
  if (depth.skip_rank > 0 && depth.skip_path != "low_rank") {
    found.push_back(
        {{"depth.skip_rank", "depth.skip_path"}, "depth.skip_rank goes with `skip_path: low_rank` (skip_path is " + depth.skip_path + ")"});
  }
  if (depth.skipped_kv == "keep" && depth.target == "mlp") {
    found.push_back(
        {{"depth.skipped_kv", "depth.target"}, "depth.skipped_kv: keep goes with a routed attention; with target mlp no token skips it"});
  }
  if (depth.gate_alpha != 1 && depth.gate != "sigmoid") {
    found.push_back({{"depth.gate_alpha", "depth.gate"}, "depth.gate_alpha goes with `gate: sigmoid` (gate is " + depth.gate + ")"});
  }
}

// As a share of the run, when that can be told without knowing the data.
double share_of_run(Duration const& duration, Duration const& budget) {
  if (duration.unit == Unit::percent) return duration.amount / 100;
  return duration.unit == budget.unit && budget.amount > 0 ? duration.amount / budget.amount : 0;
}

void check_train(Config const& config, Found& found) {
  TrainConfig const& train = config.train;
  if (train.batch_tokens % config.model.context != 0) {
    found.push_back({{"train.batch_tokens", "model.context"},
                     "train.batch_tokens (" + value_of(train.batch_tokens) + ") is no multiple of model.context (" +
                         value_of(config.model.context) + ")"});
  }
  if (train.micro_batch_tokens > 0) {
    if (train.micro_batch_tokens % config.model.context != 0) {
      found.push_back({{"train.micro_batch_tokens", "model.context"},
                       "train.micro_batch_tokens (" + value_of(train.micro_batch_tokens) + ") is no multiple of model.context (" +
                           value_of(config.model.context) + ")"});
    }
    if (train.batch_tokens % train.micro_batch_tokens != 0) {
      found.push_back({{"train.micro_batch_tokens", "train.batch_tokens"},
                       "train.micro_batch_tokens (" + value_of(train.micro_batch_tokens) + ") does not divide train.batch_tokens (" +
                           value_of(train.batch_tokens) + ")"});
    }
  }
  bool const decays = train.schedule == "wsd";
  double const share = share_of_run(train.warmup, train.budget) + (decays ? share_of_run(train.decay, train.budget) : 0);
  if (share > 1 + 1e-9) {
    std::string const what =
        decays ? "train.warmup (" + format_duration(train.warmup) + ") and train.decay (" + format_duration(train.decay) + ") are"
               : "train.warmup (" + format_duration(train.warmup) + ") is";
    found.push_back(
        {{"train.warmup", "train.decay", "train.budget"}, what + " longer than the run (" + format_duration(train.budget) + ")"});
  }
  if (train.betas.size() != 2) {
    found.push_back(
        {{"train.betas"}, "train.betas has " + value_of(static_cast<int64_t>(train.betas.size())) + " values; AdamW takes two"});
  }
}

void check_compare(CompareConfig const& compare, Found& found) {
  std::set<int64_t> seen;
  for (int64_t const seed : compare.seeds) {
    if (!seen.insert(seed).second) found.push_back({{"compare.seeds"}, "seed " + value_of(seed) + " stands twice in compare.seeds"});
  }
  std::vector<std::string> names;
  for (ArmConfig const& arm : compare.arms) names.push_back(arm.name);
  auto const arm_named = [&](std::string const& name) {
    auto const at = std::find(names.begin(), names.end(), name);
    return at == names.end() ? nullptr : &compare.arms[static_cast<size_t>(at - names.begin())];
  };
  auto const hint = [&](std::string const& name) {
    std::string const near = nearest(name, names);
    return near.empty() ? std::string() : " (did you mean '" + near + "'?)";
  };
  if (compare.baseline.empty() && !names.empty()) {
    found.push_back({{"compare.baseline", "compare.arms"}, "compare.baseline must name one of the arms"});
  } else if (!compare.baseline.empty() && arm_named(compare.baseline) == nullptr) {
    found.push_back({{"compare.baseline"}, "compare.baseline '" + compare.baseline + "' is none of the arms" + hint(compare.baseline)});
  }
  for (ArmConfig const& arm : compare.arms) {
    std::string const& target = arm.match.forward_flops_of;
    if (target.empty()) continue;
    std::string const at = "compare.arms." + arm.name;
    ArmConfig const* const other = arm_named(target);
    std::string wrong;
    if (target == arm.name) {
      wrong = " is the arm itself";
    } else if (other == nullptr) {
      wrong = " is none of the arms" + hint(target);
    } else if (!other->match.forward_flops_of.empty()) {
      wrong = " has a match of its own; name an arm whose size is fixed";
    }
    if (!wrong.empty()) found.push_back({{at + ".match.forward_flops_of", at}, "forward_flops_of '" + target + "'" + wrong});
  }
}

}  // namespace

std::vector<Contradiction> find_contradictions(Config const& config) {
  Found found;
  check_name(config, found);
  check_device(config.device, found);
  check_model(config.model, found);
  check_depth(config, found);
  check_train(config, found);
  check_compare(config.compare, found);
  return found;
}

void check_config(Config const& config) {
  Problems problems;
  Config copy = config, scratch;
  for (ConfigField const& field : config_fields()) {
    Problems unreadable;
    Tree const value = parse_tree(format_value(field, field.at(copy)), nullptr, unreadable);
    auto const wrong = assign(field, field.at(scratch), value);
    if (wrong) problems.add("config: error: " + field.path + ": " + wrong->message);
  }
  if (problems.empty()) {
    for (Contradiction const& contradiction : find_contradictions(config)) problems.add("config: error: " + contradiction.message);
  }
  problems.throw_if_any();
}

}  // namespace isobath
