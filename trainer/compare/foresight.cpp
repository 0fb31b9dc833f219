#include "trainer/compare/foresight.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "config/io.h"
#include "core/error.h"
#include "core/units.h"
#include "model/ledger/ledger.h"
#include "trainer/compare/experiment.h"
#include "trainer/report/equivalence.h"
#include "trainer/report/frontier.h"
#include "trainer/report/report.h"

namespace isobath {
namespace {

constexpr int64_t most_layers = 256;

// The dense arm's model with another number of layers: the costliest one that costs at most `target`, or the cheapest one that costs at
// least that. 0: there is none.
int64_t layers_for(ArmPlan const& dense, double target, bool at_most) {
  int64_t found = 0;
  for (int64_t layers = 1; layers <= most_layers; ++layers) {
    ModelConfig model = dense.config.model;
    model.layers = layers;
    auto const cost = static_cast<double>(planned_forward_flops(model, dense.config.depth, dense.vocab_size, 1, model.context)) /
                      static_cast<double>(model.context);
    if (at_most && cost <= target) found = layers;
    if (!at_most && cost >= target) return layers;
  }
  return found;
}

std::string missing(ArmPlan const& arm, ArmPlan const& dense, bool cheaper) {
  std::string text = fmt::format("no dense arm is as {} as {} ({} forward FLOPs a token)", cheaper ? "cheap" : "costly", arm.name,
                                 format_si(arm.forward()));
  int64_t const layers = layers_for(dense, arm.forward(), cheaper);
  return text +
         (layers > 0 ? fmt::format(": add one, such as {} with model.layers: {}", dense.name, layers) : ": add one that is narrower");
}

// Standard deviations of the paired differences of an experiment's finished runs, per cent.
std::vector<double> scatter_in(fs::path const& folder) {
  std::vector<double> scatter;
  if (!fs::exists(folder / "experiment.yaml")) return scatter;
  for (Pair const& pair : read_report({folder}).pairs)
    if (pair.basis == "flops" && pair.difference.half_width) scatter.push_back(scatter_of(pair.difference));
  return scatter;
}

// The same of another experiment, if it is on the same text with models of the same width. One that cannot be read tells nothing.
std::vector<double> scatter_if_alike(fs::path const& folder, Config const& experiment) {
  try {
    Config const other = load_config(folder / "experiment.yaml", {}).config;
    return same_text(other, experiment) && other.model.width == experiment.model.width ? scatter_in(folder) : std::vector<double>{};
  } catch (Error const&) {
    return {};
  }
}

struct KnownScatter {
  std::vector<double> values;
  std::string of;  // which runs, in words
};

// Of the experiment itself or, before it has runs, of others of its kind in the same run_dir.
KnownScatter known_scatter(Config const& experiment) {
  fs::path const own = run_folder(experiment);
  KnownScatter known{scatter_in(own), "finished runs"};
  if (!known.values.empty() || !fs::exists(own.parent_path())) return known;
  known.of = "earlier experiments on this text";
  for (fs::directory_entry const& entry : fs::directory_iterator(own.parent_path())) {
    if (!fs::exists(entry.path() / "experiment.yaml")) continue;
    for (double const one : scatter_if_alike(entry.path(), experiment)) known.values.push_back(one);
  }
  return known;
}

std::string family_of(std::string const& arm) { return arm.substr(0, arm.find('/')); }

}  // namespace

std::vector<std::string> missing_dense_arms(std::vector<ArmPlan> const& arms) {
  std::vector<ArmPlan const*> dense, routed;
  for (ArmPlan const& arm : arms) (arm.routed.empty() ? dense : routed).push_back(&arm);
  std::vector<std::string> notes;
  if (dense.empty() || routed.empty()) return notes;
  auto const by_cost = [](ArmPlan const* a, ArmPlan const* b) { return a->forward() < b->forward(); };
  ArmPlan const &cheapest = **std::min_element(dense.begin(), dense.end(), by_cost),
                &costliest = **std::max_element(dense.begin(), dense.end(), by_cost);
  ArmPlan const &low = **std::min_element(routed.begin(), routed.end(), by_cost),
                &high = **std::max_element(routed.begin(), routed.end(), by_cost);
  if (low.forward() < cheapest.forward() * (1 - same_cost)) notes.push_back(missing(low, cheapest, true));
  if (high.forward() > costliest.forward() * (1 + same_cost)) notes.push_back(missing(high, costliest, false));
  if (std::string const few = too_few_dense_arms(dense.size()); notes.empty() && !few.empty()) notes.push_back(few);
  return notes;
}

std::string what_seeds_can_show(Config const& experiment) {
  auto const n = static_cast<int64_t>(experiment.compare.seeds.size());
  if (n < 2) return "seeds: one seed gives no interval, so that no difference can be told from chance; three or more can";
  double const margin = 100 * experiment.compare.margin;
  KnownScatter const known = known_scatter(experiment);
  if (known.values.empty())
    return fmt::format(
        "seeds: with {} a difference is found with a chance of 80 % where it is {:.1f} times the scatter of the seeds' differences, which "
        "finished runs will tell",
        n, detectable_difference(1, n));
  double const scatter = median(known.values);
  return fmt::format(
      "seeds: the differences of {} scatter by {:.2g} % (standard deviation, median of {} pairs); with {} seeds a difference of "
      "{:.2g} % is found with a chance of 80 %, and arms that are the same are "
      "found equal within {:g} % with a chance of {:.0f} %",
      known.of, scatter, known.values.size(), n, detectable_difference(scatter, n), margin, 100 * equivalence_power(0, scatter, margin, n));
}

std::vector<std::string> costs_by_length(std::vector<ArmPlan> const& arms, std::string const& baseline) {
  std::vector<std::string> notes;
  for (ArmPlan const& arm : arms) {
    std::string const family = family_of(arm.name);
    bool const several = std::any_of(arms.begin(), arms.end(), [&](ArmPlan const& other) {
      return family_of(other.name) == family && other.config.model.context != arm.config.model.context;
    });
    if (!several || family == baseline) continue;
    for (ArmPlan const& other : arms) {
      bool const same = family_of(other.name) == baseline && other.config.model.context == arm.config.model.context &&
                        other.name.substr(baseline.size()) == arm.name.substr(family.size()) &&
                        other.config.train.budget.amount == arm.config.train.budget.amount;
      if (!same) continue;
      std::string note = fmt::format("with a context of {}, {} takes {:.2f} of the forward FLOPs of {} and {:.2f} of its keys and values",
                                     arm.config.model.context, arm.name, arm.forward() / other.forward(), other.name,
                                     arm.kv_bytes_per_token / other.kv_bytes_per_token);
      if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(std::move(note));  // alike at every budget
    }
  }
  return notes;
}

}  // namespace isobath
