#include "trainer/report/page/page_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace isobath {
namespace {

using nlohmann::ordered_json;

constexpr size_t most_points = 15000;  // of all training curves together
constexpr size_t fewest_of_run = 50;
constexpr double exact_integers = 9007199254740992;  // 2^53

void round_numbers(ordered_json& json) {
  if (json.is_structured()) {
    for (ordered_json& part : json) round_numbers(part);
  } else if (json.is_number_float()) {
    double const rounded = std::stod(fmt::format("{:.7g}", json.get<double>()));
    bool const whole = rounded == std::floor(rounded) && std::abs(rounded) < exact_integers;
    json = whole ? ordered_json(static_cast<int64_t>(rounded)) : ordered_json(rounded);  // without ".0"
  }
}

void keep_only(ordered_json& object, std::set<std::string> const& keys) {
  ordered_json kept = ordered_json::object();
  for (auto const& [key, value] : object.items())
    if (keys.contains(key)) kept[key] = value;
  object = std::move(kept);
}

// Neighbours become one point: their mean at the last one's step.
void thin(ordered_json& training, size_t most) {
  size_t const count = training["step"].size(), together = (count + most - 1) / most;
  if (together < 2) return;
  for (auto const& [key, column] : training.items()) {
    bool const is_place = key == "step" || key == "train_flops_total";
    ordered_json thinned = ordered_json::array();
    for (size_t from = 0; from < count; from += together) {
      size_t const to = std::min(from + together, count);
      double sum = 0, measured = 0;
      for (size_t i = from; i < to; ++i) {
        if (!column[i].is_number()) continue;
        sum += column[i].get<double>();
        ++measured;
      }
      thinned.push_back(is_place ? column[to - 1] : measured > 0 ? ordered_json(sum / measured) : ordered_json(nullptr));
    }
    column = std::move(thinned);
  }
}

void shrink_run(ordered_json& run, size_t points) {
  run.erase("folder");
  run.erase("builds");
  thin(run["training"], points);
  for (ordered_json& point : run["curve"]) keep_only(point, {"train_flops_total", "time_s", "loss_causal"});
}

// The page colours one text by depth: the challenger's or, without one, that of the first arm which has such a text.
void keep_one_depth_text(ordered_json& report) {
  ordered_json* shown = nullptr;
  for (ordered_json& arm : report["arms"]) {
    ordered_json& run = arm["runs"][0];
    if (run.contains("depth_text") && !arm["routed_layers"].empty() && (!shown || arm["name"] == report["challenger"])) shown = &run;
  }
  for (ordered_json& arm : report["arms"])
    if (&arm["runs"][0] != shown) arm["runs"][0].erase("depth_text");
}

}  // namespace

ordered_json page_json(ordered_json report) {
  size_t runs = report["unfinished"].size();
  for (ordered_json const& arm : report["arms"]) runs += arm["runs"].size();
  size_t const points = std::max(fewest_of_run, most_points / std::max<size_t>(runs, 1));
  keep_one_depth_text(report);
  for (ordered_json& arm : report["arms"])
    for (ordered_json& run : arm["runs"]) {
      shrink_run(run, points);
      if (&run != &arm["runs"][0])
        for (char const* key : {"score_histogram", "command"}) run.erase(key);
    }
  for (ordered_json& run : report["unfinished"]) shrink_run(run, points);
  for (ordered_json& task : report["tasks"])
    for (ordered_json& pair : task["pairs"])
      keep_only(pair, {"arm", "baseline", "difference", "ci95", "mcnemar_p", "n_seeds", "significant", "verdict"});
  round_numbers(report);
  return report;
}

}  // namespace isobath
