#include "model/ledger/match.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/error.h"
#include "model/depth/plan.h"
#include "model/ledger/ledger.h"

namespace isobath {
namespace {

constexpr double tolerance = 0.005;
constexpr int64_t most_layers = 4096;

struct Candidate {
  ModelConfig model;
  double change = std::numeric_limits<double>::infinity();  // |log(mlp width / the width asked for)|
  double error = std::numeric_limits<double>::infinity();   // relative
};

// The layer count is fixed; keeps mlp_width where that is near enough, otherwise solves for it (the cost is linear in mlp_width).
Candidate fit_mlp_width(ModelConfig model, DepthConfig const& depth, int64_t vocab_size, int64_t target) {
  auto const flops = [&](ModelConfig const& m) { return static_cast<double>(planned_forward_flops(m, depth, vocab_size, 1, m.context)); };
  auto const goal = static_cast<double>(target);
  auto const relative = [&](ModelConfig const& m) { return std::abs(flops(m) / goal - 1); };
  Candidate kept{model, 0, relative(model)};
  if (kept.error <= tolerance) return kept;

  int64_t const asked = resolved_mlp_width(model);
  model.mlp_width = 1;
  double const one = flops(model);
  model.mlp_width = 2;
  double const slope = flops(model) - one;
  double const width = std::max(1.0, std::round(1 + (goal - one) / slope));
  model.mlp_width = static_cast<int64_t>(width);
  return {model, std::abs(std::log(width / static_cast<double>(asked))), relative(model)};
}

}  // namespace

ModelConfig match_forward_flops(ModelConfig model, DepthConfig const& depth, int64_t vocab_size, int64_t target_flops,
                                MatchConfig const& match) {
  Candidate best, nearest;
  auto const consider = [&](ModelConfig const& asked) {
    Candidate const candidate = fit_mlp_width(asked, depth, vocab_size, target_flops);
    if (candidate.error < nearest.error) nearest = candidate;
    bool const nearer = candidate.change == best.change && candidate.error < best.error;  // equal change: the smaller error
    if (candidate.error <= tolerance && (candidate.change < best.change || nearer)) best = candidate;
  };

  auto const plan = plan_depth(model, depth);
  if (match.adjust == MatchAdjust::mlp_width) {
    consider(model);
  } else if (std::string const reason = plan->fixed_layers_reason(); !reason.empty()) {
    throw Error(ExitCode::config, "match: " + reason + "; write `adjust: mlp_width`");
  } else {
    ModelConfig smallest = model;
    smallest.mlp_width = 1;
    for (model.layers = plan->fewest_layers(); model.layers <= most_layers; ++model.layers) {
      consider(model);
      smallest.layers = model.layers;
      if (planned_forward_flops(smallest, depth, vocab_size, 1, model.context) > target_flops) break;  // more layers only cost more
    }
  }
  if (best.error <= tolerance) return best.model;

  auto const got = planned_forward_flops(nearest.model, depth, vocab_size, 1, model.context);
  throw Error(ExitCode::config, "match: nothing costs what arm '" + match.forward_flops_of + "' does (" + std::to_string(target_flops) +
                                    " FLOPs for a full context) within 0.5 %; the nearest is " + std::to_string(nearest.model.layers) +
                                    " layers with mlp_width " + std::to_string(resolved_mlp_width(nearest.model)) + " (" +
                                    std::to_string(got) + " FLOPs); change model.width or the arm to match");
}

}  // namespace isobath
