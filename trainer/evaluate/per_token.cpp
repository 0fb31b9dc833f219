#include "trainer/evaluate/per_token.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "data/loader.h"
#include "nn/ops/ops.h"
#include "trainer/train/device_prefetcher.h"

namespace isobath {

namespace {

using Json = nlohmann::ordered_json;

// One batch of windows under one routing, on the host; N = B * T.
struct Pass {
  at::Tensor losses_N, depth_N;  // double, int64
  struct Layer {
    at::Tensor executed_N, topk_N, score_N;  // bool, bool, double
  };
  std::vector<Layer> layers;
};

Pass run_pass(LanguageModel& model, DeviceBatch const& batch, Routing routing, NoiseKey const& noise) {
  ModelOutput const output = model.forward(batch.input(0, batch.sequences), routing, noise);
  auto const flat = [](at::Tensor const& x_BT) { return x_BT.reshape({-1}).cpu().contiguous(); };
  Pass pass{flat(ops::token_losses(output.x_ND, model.head_weight(), batch.targets_N(0, batch.sequences)).to(at::kDouble)),
            flat(output.depth_BT),
            {}};
  for (RoutedLayer const& layer : output.routed_layers)
    pass.layers.push_back({flat(layer.executed_BT), flat(layer.topk_BT), flat(layer.score_BT.to(at::kDouble))});
  return pass;
}

Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// Writes records in the order of the text.
class Records {
 public:
  Records(std::filesystem::path const& path, Tokenizer const& tokenizer) : file_(path), tokenizer_(tokenizer) {}

  // `topk`: null where both routings are one.
  void add(Batch const& batch, Pass const* topk, Pass const& causal) {
    for (int64_t n = 0; n < std::ssize(batch.tokens); ++n) {
      auto const at = static_cast<size_t>(n);
      Json record = head(batch.tokens[at]);
      record["depth"] = causal.depth_N.const_data_ptr<int64_t>()[n];
      for (char const* key : {"selected", "selected_topk", "score"}) record[key] = Json::array();
      for (Pass::Layer const& layer : causal.layers) {
        record["selected"].push_back(layer.executed_N.const_data_ptr<bool>()[n]);
        record["selected_topk"].push_back(layer.topk_N.const_data_ptr<bool>()[n]);
        record["score"].push_back(finite_or_null(layer.score_N.const_data_ptr<double>()[n]));
      }
      write(record);
      last_target_ = batch.targets[at];
      double const nothing = std::nan("");
      auto const loss = [&](Pass const& pass) { return pass.losses_N.const_data_ptr<double>()[n]; };
      next_causal_ = last_target_ == ignore_target ? nothing : loss(causal);
      next_topk_ = last_target_ == ignore_target ? nothing : loss(topk ? *topk : causal);
    }
  }

  void finish() {
    if (last_target_ != ignore_target) write(head(last_target_));
    file_.write(lines_);
    file_.finish();
  }

 private:
  Json head(int64_t id) {
    std::string const& piece = tokenizer_.piece(static_cast<int32_t>(id));
    Json record = {{"id", id},
                   {"piece", piece},
                   {"document", document_},
                   {"offset", offset_},
                   {"loss_topk", finite_or_null(next_topk_)},
                   {"loss_causal", finite_or_null(next_causal_)}};
    offset_ += static_cast<int64_t>(piece.size());
    if (id == tokenizer_.document_end()) {
      ++document_;
      offset_ = 0;
    }
    return record;
  }

  void write(Json const& record) {
    lines_ += record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    if (lines_.size() < 1 << 16) return;
    file_.write(lines_);
    lines_.clear();
  }

  FileWriter file_;
  std::string lines_;  // not written yet
  Tokenizer const& tokenizer_;
  int64_t document_ = 0, offset_ = 0;
  int64_t last_target_ = ignore_target;
  double next_topk_ = std::nan(""), next_causal_ = std::nan("");  // losses of predicting the next token
};

}  // namespace

void write_token_records(std::filesystem::path const& path, LanguageModel& model, TokenStream const& text, Tokenizer const& tokenizer,
                         EvalSettings const& settings) {
  int64_t const length = model.model_config().context;
  Loader const loader(text, length, 0, /*ordered=*/true, settings.isolate_documents);
  int64_t windows = loader.samples_per_epoch();
  if (settings.tokens > 0) windows = std::min(windows, std::max<int64_t>(1, settings.tokens / length));
  bool const two = model.plan().uses_noncausal_routing();
  Records records(path, tokenizer);
  EvalMode const mode(model);
  DevicePrefetcher to_device(model.device());
  for (int64_t first = 0; first < windows;) {
    Batch const batch = loader.at(first, std::min(settings.micro_sequences, windows - first));
    DeviceBatch const on_device = to_device.load(batch);
    NoiseKey const noise{settings.seed, 0, first * length, NoiseStream::evaluation};
    first += batch.sequences;
    Pass const causal = run_pass(model, on_device, Routing::causal, noise);
    std::optional<Pass> const topk = two ? std::optional(run_pass(model, on_device, Routing::topk, noise)) : std::nullopt;
    records.add(batch, topk ? &*topk : nullptr, causal);
  }
  records.finish();
}

}  // namespace isobath
