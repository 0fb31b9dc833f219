#pragma once
// Router statistics of an arm, averaged over its seeds and layers. Uses no LibTorch.

#include <functional>
#include <vector>

#include "trainer/report/report.h"

namespace isobath {

// Gives one value per routed layer: a list of the validation record, or values computed from its lists.
using LayerValues = std::function<std::vector<double>(ValidationPoint const&)>;

// Means over seeds of the final validations, one per routed layer. Seeds without a value are left out; NaN where no seed has one.
std::vector<double> layer_means(ArmResult const& arm, LayerValues const& values);
double routing_mean(ArmResult const& arm, LayerValues const& values);  // over layers and seeds

std::vector<double> f1_of_ceiling(ValidationPoint const& point);  // F1 over its ceiling; 1: as good as the best fixed threshold
double mean_depth(ArmResult const& arm);                          // mean number of layers that a token goes through, over seeds
double oracle_loss(ArmResult const& arm);                         // mean over seeds; NaN where there is none
double causal_gap_percent(ArmResult const& arm);                  // excess of the causal over the top-k loss; NaN where both are the same

}  // namespace isobath
