#pragma once
// depth.kind: dense. Every token goes through every layer.

#include "model/depth/plan.h"

namespace isobath {

class DensePlan : public DepthPlan {
 public:
  using DepthPlan::DepthPlan;
  std::string describe() const override { return ""; }
};

}  // namespace isobath
