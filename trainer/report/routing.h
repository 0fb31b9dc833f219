#pragma once
// What validations say of the routers of an arm, put together over seeds and layers. No LibTorch.

#include <functional>
#include <vector>

#include "trainer/report/report.h"

namespace isobath {

// One value a routed layer: a list of the record, or what follows from its lists.
using LayerValues = std::function<std::vector<double>(ValidationPoint const&)>;

// Of the final validations. Seeds that did not measure a layer are left out; NaN where none did.
std::vector<double> layer_means(ArmResult const& arm, LayerValues const& values);
double routing_mean(ArmResult const& arm, LayerValues const& values);  // over layers and seeds

std::vector<double> f1_of_ceiling(ValidationPoint const& point);  // 1: as good as a fixed threshold can be
double mean_depth(ArmResult const& arm);                          // layers a token goes through, over seeds
double oracle_loss(ArmResult const& arm);                         // over seeds; NaN where there is none
double causal_gap_percent(ArmResult const& arm);                  // causal loss over top-k loss; NaN for a dense arm, which has no gap

}  // namespace isobath
