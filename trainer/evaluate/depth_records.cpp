#include "trainer/evaluate/depth_records.h"

#include <nlohmann/json.hpp>

#include "trainer/evaluate/depth_analysis.h"
#include "trainer/evaluate/token_outcomes.h"
#include "trainer/metrics/metric.h"

namespace isobath {

namespace {

using Json = nlohmann::ordered_json;

void write(fs::path const& path, Json const& json) {
  write_file_atomic(path, json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace

void write_depth_records(fs::path const& folder, LanguageModel& model, TokenStream const& valid, Tokenizer const& tokenizer,
                         EvalSettings settings) {
  bool const routed = !model.plan().routed_layers().empty();
  if (!routed) settings.tokens = model.model_config().context;  // all tokens of a dense model are alike: one window is enough
  settings.routing = EvalRouting::causal;
  int64_t const layers = model.model_config().layers;
  Json text{{"pieces", Json::array()}, {"depth", Json::array()}, {"layers", layers}, {"loss", Json::array()}};
  DepthAnalysis analysis(layers);
  visit_tokens(model, *validation_windows(valid, model, settings), tokenizer, settings, [&](TokenOutcome const& token) {
    if (routed) analysis.add(token);
    if (!token.read || token.window > 0) return;
    text["pieces"].push_back(token.piece);
    text["depth"].push_back(token.depth);
    text["loss"].push_back(finite_or_null(token.loss_causal));
  });
  write(folder / "depth_text.json", text);
  if (routed) write(folder / "depth_analysis.json", analysis.json(default_at_least, default_most));
}

}  // namespace isobath
