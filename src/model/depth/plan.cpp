#include "model/depth/plan.h"

#include <fmt/format.h>

#include <cmath>
#include <map>

#include "core/error.h"
#include "model/depth/dense/plan.h"
#include "model/depth/mod/plan.h"
#include "model/depth/nested/plan.h"
#include "model/depth/scaled/plan.h"

namespace isobath {

namespace {

template <class Plan>
std::unique_ptr<DepthPlan const> make(ModelConfig const& model, DepthConfig const& depth) {
  return std::make_unique<Plan const>(model, depth);
}

std::map<std::string, DepthPlanFactory>& factories() {
  static std::map<std::string, DepthPlanFactory> table{
      {"dense", make<DensePlan>},
      {"mod", make<ModPlan>},
      {"nested", make<NestedPlan>},
      {"scaled", make<ScaledPlan>},
  };
  return table;
}

}  // namespace

std::unique_ptr<DepthPlan const> plan_depth(ModelConfig const& model, DepthConfig const& depth) {
  auto const found = factories().find(depth.kind);
  if (found == factories().end()) throw Error(ExitCode::config, "depth.kind '" + depth.kind + "' has no plan");
  return found->second(model, depth);
}

void add_depth_plan(std::string const& kind, DepthPlanFactory factory) { factories()[kind] = std::move(factory); }

std::vector<double> DepthPlan::warmed_up(std::vector<double> shares, double progress) const {
  if (progress >= depth_.capacity_warmup) return shares;
  for (double& share : shares) share = std::lerp(1.0, share, progress / depth_.capacity_warmup);
  return shares;
}

std::vector<double> DepthPlan::step_capacities(uint64_t, int64_t, double) const { return training_capacities(); }

std::string capacity_text(std::vector<double> const& capacity) {
  auto const percent = [](double share) { return fmt::format("{:g}", 100 * share); };
  std::string const first = percent(capacity.front());
  return (capacity.size() == 1 ? first : first + " to " + percent(capacity.back())) + " %";
}

}  // namespace isobath
