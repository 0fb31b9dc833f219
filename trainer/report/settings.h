#pragma once
// What the arms of a report set. Uses no LibTorch.

#include <string>
#include <vector>

#include "trainer/report/report.h"

namespace isobath {

struct ArmSetting {
  std::string key;                  // "train.lr"
  std::vector<std::string> values;  // one per arm of the report, as YAML; empty: means nothing to the arm's kind of depth
};

// Budget, batch and learning rate; keys in which arms differ; keys that an arm sets; options of a kind of depth that are not the default.
std::vector<ArmSetting> arm_settings(Report const& report);

// A sentence for each key whose best value is the smallest or the largest that was tried: three values or more, with all else alike but for
// what `match` resizes. Empty while nothing ranks the arms.
std::vector<std::string> sweep_edges(Report const& report);

}  // namespace isobath
