#include "config/experiment_runs.h"

#include <algorithm>

namespace isobath {

std::string RunId::family() const { return size.empty() ? arm : arm + "/" + size; }

std::string RunId::group() const {
  if (!trial.empty()) return "tune/" + arm + "/" + trial;
  return arm + (budget ? "/" + format_duration(*budget) : "") + (size.empty() ? "" : "/" + size);
}

std::string RunId::path() const { return group() + "/seed-" + std::to_string(seed); }

std::vector<Duration> ascending_budgets(CompareConfig const& compare) {
  std::vector<Duration> budgets = compare.budgets;
  std::sort(budgets.begin(), budgets.end(), [](Duration const& a, Duration const& b) { return a.amount < b.amount; });
  return budgets;
}

std::vector<RunId> experiment_runs(CompareConfig const& compare) {
  std::vector<std::optional<Duration>> budgets;
  for (Duration const& budget : ascending_budgets(compare)) budgets.emplace_back(budget);
  if (budgets.empty()) budgets.emplace_back();
  std::vector<RunId> runs;
  for (int64_t const seed : compare.seeds)
    for (std::optional<Duration> const& budget : budgets)
      for (ArmConfig const& arm : compare.arms) {
        if (arm.sizes.empty()) runs.push_back({arm.name, seed, "", budget});
        for (SizeConfig const& size : arm.sizes) runs.push_back({arm.name, seed, size.name, budget});
      }
  return runs;
}

}  // namespace isobath
