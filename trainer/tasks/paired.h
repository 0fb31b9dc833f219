#pragma once
// Two models on the same items of a task.

#include <cstdint>
#include <vector>

#include "trainer/metrics/readings.h"

namespace isobath {

struct PairedTask {
  Estimate difference;                        // of accuracy, model minus baseline; its interval: bootstrap over items and seeds
  std::vector<double> mcnemar;                // exact two-sided p, one a seed
  int64_t only_model = 0, only_baseline = 0;  // items where only one of the two is right, over all seeds
};

// right[seed][item]: whether the answer is right; both have the same seeds and items.
PairedTask compare_answers(std::vector<std::vector<bool>> const& model, std::vector<std::vector<bool>> const& baseline);

}  // namespace isobath
