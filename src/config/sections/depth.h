#pragma once
// `depth`: which tokens go through which layers. One struct holds the options of every kind, so that arms can change the kind alone.

#include <string>

#include "config/sections/depth_mod.h"
#include "config/sections/depth_nested.h"
#include "config/sections/depth_router.h"
#include "config/sections/depth_scaled.h"

namespace isobath {

struct DepthConfig : ModOptions, RouterOptions, NestedOptions, ScaledOptions {
  std::string kind = "dense";  // a row of config/sections/depth_kinds.h
  double mean_depth = 0;       // nested and scaled; 0: off
};

}  // namespace isobath
