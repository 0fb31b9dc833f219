#pragma once
// What each layer of a dense model is worth: the loss without it.

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "trainer/evaluate/evaluate.h"

namespace isobath {

struct LayerImportance {
  struct Without {
    RoutedPart part;
    std::vector<double> losses;  // one a layer, nats per token, when that part of it is left out
  };
  int64_t tokens = 0;  // that were predicted
  double loss = 0;     // of the whole model
  std::vector<Without> without;

  std::string table() const;
  nlohmann::ordered_json json() const;
};

// Layers by the loss without them, the least missed one first: as depth.layers takes them, once the caller has chosen how many.
std::vector<int64_t> least_missed_first(std::vector<double> const& losses);

// Reads settings.tokens of text. Returns nullopt when `stop` returned true between two batches. Throws Error(config) for a model that is
// not dense.
std::optional<LayerImportance> measure_layers(LanguageModel& model, Windows const& text, std::vector<RoutedPart> const& parts,
                                              EvalSettings const& settings, std::function<bool()> const& stop);

}  // namespace isobath
