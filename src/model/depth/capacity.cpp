#include "model/depth/capacity.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/random.h"
#include "model/depth/nested/branches.h"
#include "model/ledger/ledger.h"

namespace isobath {

namespace {

std::vector<double> nested_capacities(ModelConfig const& model, DepthConfig const& depth) {
  std::vector<int64_t> const depths = branch_depths(model, depth);
  std::vector<double> const shares = branch_shares(model, depth);
  std::vector<double> capacities;
  for (int64_t const layer : routed_layers(model, depth)) {
    double& capacity = capacities.emplace_back(0);
    for (size_t b = 0; b < depths.size(); ++b) capacity += depths[b] > layer ? shares[b] : 0;
  }
  return capacities;
}

// Of tokens alike, for what they will differ by is not known; of whole layers the first, though any may be left.
std::vector<double> scaled_capacities(ModelConfig const& model, DepthConfig const& depth) {
  auto const layers = static_cast<size_t>(model.layers);
  if (depth.mean_depth == 0) return std::vector<double>(layers, 1);
  if (depth.scale == "token") return std::vector<double>(layers, depth.mean_depth / static_cast<double>(model.layers));
  std::vector<double> capacities(layers, 0);
  std::fill_n(capacities.begin(), static_cast<size_t>(depth.mean_depth), 1);
  return capacities;
}

}  // namespace

std::vector<double> layer_capacities(ModelConfig const& model, DepthConfig const& depth) {
  if (depth.kind == "nested") return nested_capacities(model, depth);
  if (depth.kind == "scaled") return scaled_capacities(model, depth);
  std::vector<double> const& entries = depth.capacity;
  std::vector<double> capacities(routed_layers(model, depth).size());
  for (size_t i = 0; i < capacities.size(); ++i) {
    double const last = static_cast<double>(entries.size() - 1);
    double const place = capacities.size() > 1 ? last * static_cast<double>(i) / static_cast<double>(capacities.size() - 1) : 0;
    auto const below = static_cast<size_t>(std::min(std::floor(place), std::max(0.0, last - 1)));
    double const above = entries[std::min(below + 1, entries.size() - 1)];
    capacities[i] = std::lerp(entries[below], above, place - static_cast<double>(below));
  }
  return capacities;
}

std::string capacity_text(DepthConfig const& depth) {
  auto const percent = [](double share) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", 100 * share);
    return std::string(text);
  };
  std::string const first = percent(depth.capacity.front());
  return (depth.capacity.size() == 1 ? first : first + " to " + percent(depth.capacity.back())) + " %";
}

bool capacity_changes(DepthConfig const& depth) {
  return depth.kind == "mod" && (depth.capacity_warmup > 0 || !depth.capacity_random.empty());
}

bool steps_differ(DepthConfig const& depth) { return capacity_changes(depth) || depth.kind == "scaled"; }

std::vector<double> training_capacities(ModelConfig const& model, DepthConfig const& depth) {
  std::vector<double> capacities = layer_capacities(model, depth);
  if (depth.kind == "nested" && depth.gate_training == "hindsight") std::fill(capacities.begin(), capacities.end(), 1);
  return capacities;
}

std::vector<double> most_capacities(ModelConfig const& model, DepthConfig const& depth) {
  std::vector<double> capacities = training_capacities(model, depth);
  if (depth.kind == "nested") return capacities;
  if (depth.capacity_warmup > 0 || depth.kind == "scaled") std::fill(capacities.begin(), capacities.end(), 1);
  for (double& capacity : capacities)
    if (!depth.capacity_random.empty()) capacity = std::max(capacity, depth.capacity_random[1]);
  return capacities;
}

std::vector<double> step_capacities(ModelConfig const& model, DepthConfig const& depth, uint64_t seed, int64_t step, double progress) {
  std::vector<double> capacities = layer_capacities(model, depth);
  if (depth.kind == "scaled" && progress < depth.harden_after) std::fill(capacities.begin(), capacities.end(), 1);
  if (!depth.capacity_random.empty()) {
    double const drawn = random_uniform(make_key({seed, hash_text("capacity")}), static_cast<uint64_t>(step));
    std::fill(capacities.begin(), capacities.end(), std::lerp(depth.capacity_random[0], depth.capacity_random[1], drawn));
  }
  if (progress < depth.capacity_warmup) {
    for (double& capacity : capacities) capacity = std::lerp(1.0, capacity, progress / depth.capacity_warmup);
  }
  return capacities;
}

}  // namespace isobath
