#include "config/check.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "config/values.h"

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
  bool const decays = train.schedule == LearningRateSchedule::wsd;
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
  std::vector<Contradiction> const depth = find_depth_contradictions(config);
  found.insert(found.end(), depth.begin(), depth.end());
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
