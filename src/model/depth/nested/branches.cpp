#include "model/depth/nested/branches.h"

#include <cmath>

namespace isobath {

namespace {

double mean(std::vector<int64_t> const& depths, std::vector<double> const& shares) {
  double sum = 0;
  for (size_t b = 0; b < depths.size(); ++b) sum += shares[b] * static_cast<double>(depths[b]);
  return sum;
}

std::vector<double> tilted_shares(std::vector<int64_t> const& depths, double tilt) {
  std::vector<double> shares;
  double sum = 0;
  auto const from = static_cast<double>(tilt > 0 ? depths.back() : depths.front());  // so that no exponent is above 0
  for (int64_t const depth : depths) sum += shares.emplace_back(std::exp(tilt * (static_cast<double>(depth) - from)));
  for (double& share : shares) share /= sum;
  return shares;
}

}  // namespace

std::vector<int64_t> branch_depths(ModelConfig const& model, DepthConfig const& depth) {
  std::vector<int64_t> depths = depth.exits;
  depths.push_back(model.layers);
  return depths;
}

std::vector<double> branch_shares(ModelConfig const& model, DepthConfig const& depth) {
  std::vector<int64_t> const depths = branch_depths(model, depth);
  double low = -50, high = 50;  // the mean rises with the tilt
  if (depth.mean_depth == 0) low = high = 0;
  while (high - low > 1e-12) {
    double const middle = (low + high) / 2;
    (mean(depths, tilted_shares(depths, middle)) < depth.mean_depth ? low : high) = middle;
  }
  return tilted_shares(depths, (low + high) / 2);
}

double planned_mean_depth(ModelConfig const& model, DepthConfig const& depth) {
  if (depth.kind == "scaled") return depth.mean_depth > 0 ? depth.mean_depth : static_cast<double>(model.layers);
  return mean(branch_depths(model, depth), branch_shares(model, depth));
}

bool is_expert_choice(DepthConfig const& depth) { return depth.kind == "nested" && depth.choice == "expert"; }

int64_t layer_of_weights(DepthConfig const& depth, int64_t layer) {
  if (depth.kind != "nested" || !depth.recursion || layer < depth.exits[1]) return layer;
  return depth.exits[0] + (layer - depth.exits[0]) % (depth.exits[1] - depth.exits[0]);
}

}  // namespace isobath
