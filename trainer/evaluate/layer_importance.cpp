#include "trainer/evaluate/layer_importance.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/columns.h"
#include "core/error.h"
#include "data/progress.h"
#include "trainer/train/device_prefetcher.h"

namespace isobath {

std::vector<int64_t> least_missed_first(std::vector<double> const& losses, std::vector<int64_t> const& removed) {
  std::vector<int64_t> layers(losses.size());
  std::iota(layers.begin(), layers.end(), 0);
  std::erase_if(layers, [&](int64_t layer) { return std::find(removed.begin(), removed.end(), layer) != removed.end(); });
  std::stable_sort(layers.begin(), layers.end(),
                   [&](int64_t a, int64_t b) { return losses[static_cast<size_t>(a)] < losses[static_cast<size_t>(b)]; });
  return layers;
}

namespace {

// Fills in losses and loss; false when it was stopped.
bool read_without(LanguageModel& model, Windows const& text, EvalSettings const& settings, std::function<bool()> const& stop,
                  LayerImportance::Without& without, int64_t& tokens) {
  std::set<int64_t> const removed(without.removed.begin(), without.removed.end());
  without.losses.assign(static_cast<size_t>(model.model_config().layers), 0);
  tokens = 0;
  DevicePrefetcher to_device(model.device());
  int64_t const windows = evaluated_windows(text, model.model_config().context, settings.tokens);
  std::string const part = Choice<RoutedPart>(without.part).name();
  Progress progress("without " + part + (removed.empty() ? "" : ", " + std::to_string(removed.size()) + " removed"), windows,
                    Progress::Counts::windows);
  for (int64_t first = 0; first < windows;) {
    if (stop()) return false;
    Batch const batch = text.at(first, std::min(settings.micro_sequences, windows - first));
    DeviceBatch const on_device = to_device.load(batch);
    at::Tensor const targets_N = on_device.targets_N(0, batch.sequences);
    model.visit_without_each_layer(on_device.input(0, batch.sequences), without.part, removed, [&](int64_t layer, at::Tensor const& x_ND) {
      ModelOutput output;
      output.x_ND = x_ND;
      (layer < 0 ? without.loss : without.losses[static_cast<size_t>(layer)]) += model.loss_sum(output, targets_N).item<double>();
    });
    tokens += batch.target_count;
    first += batch.sequences;
    progress.advance(batch.sequences);
  }
  without.loss /= static_cast<double>(tokens);
  for (double& loss : without.losses) loss /= static_cast<double>(tokens);
  return true;
}

std::string listed(std::vector<int64_t> const& layers) { return fmt::format("{}", fmt::join(layers, ", ")); }

}  // namespace

std::optional<LayerImportance> measure_layers(LanguageModel& model, Windows const& text, std::vector<RoutedPart> const& parts,
                                              int64_t remove, EvalSettings const& settings, std::function<bool()> const& stop) {
  if (model.depth_config().kind != "dense")
    throw Error(ExitCode::config,
                "the worth of layers is measured on a dense model; this one has depth.kind: " + model.depth_config().kind);
  if (remove >= model.model_config().layers)
    throw Error(ExitCode::config, fmt::format("of {} layers {} cannot be removed", model.model_config().layers, remove));
  EvalMode const mode(model);
  LayerImportance found;
  for (RoutedPart const part : parts) {
    std::vector<int64_t> removed;
    for (int64_t round = 0; round <= remove; ++round) {
      LayerImportance::Without& without = found.without.emplace_back(LayerImportance::Without{part, {}, removed});
      if (!read_without(model, text, settings, stop, without, found.tokens)) return std::nullopt;
      removed.push_back(least_missed_first(without.losses, removed).front());
    }
  }
  return found;
}

std::string LayerImportance::table() const {
  double const whole = without.front().loss;
  std::vector<std::vector<std::string>> rows{{"layer"}};
  for (size_t layer = 0; layer < without.front().losses.size(); ++layer) rows.push_back({std::to_string(layer)});
  std::string findings;
  for (Without const& of : without) {
    std::string const part = Choice<RoutedPart>(of.part).name();
    if (!of.removed.empty()) {
      findings +=
          fmt::format("{} of {} removed: loss {:.4f} ({:+.2f} %)\n", part, listed(of.removed), of.loss, 100 * (of.loss / whole - 1));
      continue;
    }
    rows.front().push_back("without " + part);
    for (size_t layer = 0; layer < of.losses.size(); ++layer)
      rows[layer + 1].push_back(fmt::format("{:.4f} ({:+.2f} %)", of.losses[layer], 100 * (of.losses[layer] / whole - 1)));
    findings += fmt::format("{}, least missed first: {}\n", part, listed(least_missed_first(of.losses)));
  }
  return fmt::format("loss {:.4f} nats per token on {} tokens; without one layer, or one half of it:\n\n", whole, tokens) +
         aligned_columns(rows) + "\n" + findings;
}

nlohmann::ordered_json LayerImportance::json() const {
  nlohmann::ordered_json all = {{"tokens", tokens}, {"loss", without.front().loss}};
  for (Without const& of : without) {
    nlohmann::ordered_json& part = all["without"][Choice<RoutedPart>(of.part).name()];
    if (of.removed.empty())
      part = {{"loss", of.losses}, {"least_missed_first", least_missed_first(of.losses)}};
    else
      part["removed"].push_back({{"layers", of.removed}, {"loss", of.loss}});
  }
  return all;
}

}  // namespace isobath
