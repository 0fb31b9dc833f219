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

std::vector<int64_t> least_missed_first(std::vector<double> const& losses) {
  std::vector<int64_t> layers(losses.size());
  std::iota(layers.begin(), layers.end(), 0);
  std::stable_sort(layers.begin(), layers.end(),
                   [&](int64_t a, int64_t b) { return losses[static_cast<size_t>(a)] < losses[static_cast<size_t>(b)]; });
  return layers;
}

std::optional<LayerImportance> measure_layers(LanguageModel& model, Windows const& text, std::vector<RoutedPart> const& parts,
                                              EvalSettings const& settings, std::function<bool()> const& stop) {
  if (model.depth_config().kind != "dense")
    throw Error(ExitCode::config,
                "the worth of layers is measured on a dense model; this one has depth.kind: " + model.depth_config().kind);
  EvalMode const mode(model);
  auto const layers = static_cast<size_t>(model.model_config().layers);
  LayerImportance found;
  for (RoutedPart const part : parts) found.without.push_back({part, std::vector<double>(layers)});
  DevicePrefetcher to_device(model.device());
  int64_t const windows = evaluated_windows(text, model.model_config().context, settings.tokens);
  Progress progress("leaving out layers", windows, Progress::Counts::windows);
  for (int64_t first = 0; first < windows;) {
    if (stop()) return std::nullopt;
    Batch const batch = text.at(first, std::min(settings.micro_sequences, windows - first));
    DeviceBatch const on_device = to_device.load(batch);
    ModelInput const input = on_device.input(0, batch.sequences);
    at::Tensor const targets_N = on_device.targets_N(0, batch.sequences);
    auto const loss_sum = [&](at::Tensor const& x_ND) {
      ModelOutput output;
      output.x_ND = x_ND;
      return model.loss_sum(output, targets_N).item<double>();
    };
    found.loss += loss_sum(model.forward(input, Routing::causal, {}).x_ND);
    for (LayerImportance::Without& without : found.without)
      model.visit_without_each_layer(input, without.part, [&](int64_t layer, at::Tensor const& x_ND) {
        without.losses[static_cast<size_t>(layer)] += loss_sum(x_ND);
      });
    found.tokens += batch.target_count;
    first += batch.sequences;
    progress.advance(batch.sequences);
  }
  auto const count = static_cast<double>(found.tokens);
  found.loss /= count;
  for (LayerImportance::Without& without : found.without)
    for (double& loss : without.losses) loss /= count;
  return found;
}

std::string LayerImportance::table() const {
  std::vector<std::vector<std::string>> rows{{"layer"}};
  for (Without const& of : without) rows.front().push_back(std::string("without ") + Choice<RoutedPart>(of.part).name());
  for (size_t layer = 0; layer < without.front().losses.size(); ++layer) {
    rows.push_back({std::to_string(layer)});
    for (Without const& of : without)
      rows.back().push_back(fmt::format("{:.4f} ({:+.2f} %)", of.losses[layer], 100 * (of.losses[layer] / loss - 1)));
  }
  std::string out = fmt::format("loss {:.4f} nats per token on {} tokens; without one layer, or one half of it:\n\n", loss, tokens) +
                    aligned_columns(rows);
  for (Without const& of : without) {
    std::string order;
    for (int64_t const layer : least_missed_first(of.losses)) order += (order.empty() ? "" : ", ") + std::to_string(layer);
    out += fmt::format("\n{}, least missed first: {}\n", Choice<RoutedPart>(of.part).name(), order);
  }
  return out;
}

nlohmann::ordered_json LayerImportance::json() const {
  nlohmann::ordered_json all = {{"tokens", tokens}, {"loss", loss}};
  for (Without const& of : without)
    all["without"][Choice<RoutedPart>(of.part).name()] = {{"loss", of.losses}, {"least_missed_first", least_missed_first(of.losses)}};
  return all;
}

}  // namespace isobath
