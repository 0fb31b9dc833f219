#pragma once
// What each layer of a dense model is worth: the loss without it.

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "trainer/evaluate/evaluate.h"

namespace isobath {

struct LayerImportance {
  struct Without {
    RoutedPart part;
    std::vector<double> losses;    // one a layer, nats per token, when that part of it is left out, too
    std::vector<int64_t> removed;  // layers that lacked it all the time, in the order in which they were removed
    double loss = 0;               // with these removed alone
  };
  int64_t tokens = 0;            // that were predicted
  std::vector<Without> without;  // by part; of each at first with nothing removed, then with one layer more removed each time

  std::string table() const;
  nlohmann::ordered_json json() const;
};

// Layers by the loss without them, the least missed one first. Those that `removed` has are left out.
std::vector<int64_t> least_missed_first(std::vector<double> const& losses, std::vector<int64_t> const& removed = {});

// Reads settings.tokens of text for each part, and then removes that of the least missed layer and reads again, `remove` times. Returns
// nullopt when `stop` returned true between two batches. Throws Error(config) for a model that is not dense or has too few layers.
std::optional<LayerImportance> measure_layers(LanguageModel& model, Windows const& text, std::vector<RoutedPart> const& parts,
                                              int64_t remove, EvalSettings const& settings, std::function<bool()> const& stop);

}  // namespace isobath
