#include "config/sections/sweep.h"

#include <set>

#include "config/sections/run.h"

namespace isobath {
namespace {

void check_budgets(std::vector<Duration> const& budgets, std::vector<Contradiction>& found) {
  std::set<std::string> seen;
  for (Duration const& budget : budgets) {
    std::string const text = format_duration(budget);
    if (!seen.insert(text).second) found.push_back({{"compare.budgets"}, "budget " + text + " stands twice in compare.budgets"});
    if (budget.unit != budgets.front().unit)
      found.push_back({{"compare.budgets"},
                       "compare.budgets has " + format_duration(budgets.front()) + " and " + text +
                           ": budgets are compared with each other, so give all of them one unit"});
  }
}

void check_devices(std::vector<std::string> const& devices, std::vector<Contradiction>& found) {
  for (std::string const& device : devices) {
    if (!is_device(device) || device == "auto")
      found.push_back({{"compare.devices"}, "device '" + device + "' in compare.devices is none of cpu, cuda, cuda:0, cuda:1, ..."});
    else if (device.substr(0, 4) != devices.front().substr(0, 4))
      found.push_back(
          {{"compare.devices"}, "compare.devices mixes " + devices.front() + " and " + device + ": times could not be compared"});
  }
}

}  // namespace

void check_sweep(CompareConfig const& compare, std::vector<Contradiction>& found) {
  check_budgets(compare.budgets, found);
  check_devices(compare.devices, found);
  auto const devices = std::ssize(compare.devices);
  if (devices > 0 && devices % compare.ranks_per_run != 0)
    found.push_back({{"compare.ranks_per_run"},
                     "compare.devices has " + std::to_string(devices) + " devices, which compare.ranks_per_run = " +
                         std::to_string(compare.ranks_per_run) + " does not divide: a run takes as many as it has ranks"});
}

std::string why_no_size_to_match(ArmConfig const& arm, ArmConfig const& target) {
  if (target.sizes.empty()) return "";
  std::string known;
  for (SizeConfig const& size : target.sizes) known += (known.empty() ? "" : ", ") + size.name;
  if (arm.sizes.empty()) return " has sizes (" + known + ") and '" + arm.name + "' has none";
  for (SizeConfig const& size : arm.sizes)
    if (target.size(size.name) == nullptr) return " has no size '" + size.name + "' (it has " + known + ")";
  return "";
}

}  // namespace isobath
