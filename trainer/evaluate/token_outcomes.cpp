#include "trainer/evaluate/token_outcomes.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/topk.h>

#include <algorithm>
#include <cmath>

#include "data/loader.h"
#include "data/progress.h"
#include "nn/ops/ops.h"
#include "trainer/train/device_prefetcher.h"

namespace isobath {

namespace {

// One batch of windows under one routing, on the host; N = B * T.
struct Pass {
  at::Tensor losses_N, depth_N;  // double, int64
  struct Layer {
    at::Tensor executed_N, topk_N, score_N;  // bool, bool, double
  };
  std::vector<Layer> layers;
  at::Tensor top_ids_NK, top_log_probabilities_NK;  // int64, double; K = EvalSettings::likeliest
};

// The K likeliest tokens behind each position. Works through the rows in chunks, so that few logits exist at a time.
void add_likeliest(Pass& pass, LanguageModel const& model, at::Tensor const& x_ND, int64_t K) {
  constexpr int64_t chunk_rows = 128;
  std::vector<at::Tensor> ids, log_probabilities;
  for (int64_t first = 0; first < x_ND.size(0); first += chunk_rows) {
    at::Tensor const logits = model.logits(x_ND.narrow(0, first, std::min(chunk_rows, x_ND.size(0) - first)));
    auto const [values, indices] = at::topk(at::log_softmax(logits.to(at::kDouble), -1), std::min(K, logits.size(1)));
    log_probabilities.push_back(values.cpu());
    ids.push_back(indices.cpu());
  }
  pass.top_ids_NK = at::cat(ids).contiguous();
  pass.top_log_probabilities_NK = at::cat(log_probabilities).contiguous();
}

Pass run_pass(LanguageModel& model, DeviceBatch const& batch, Routing routing, NoiseKey const& noise, int64_t likeliest) {
  ModelOutput const output = model.forward(batch.input(0, batch.sequences), routing, noise);
  auto const flat = [](at::Tensor const& x_BT) { return x_BT.reshape({-1}).cpu().contiguous(); };
  Pass pass{flat(ops::token_losses(output.x_ND, model.head_weight(), batch.targets_N(0, batch.sequences)).to(at::kDouble)),
            flat(output.depth_BT),
            {},
            {},
            {}};
  for (RoutedLayer const& layer : output.routed_layers)
    pass.layers.push_back({flat(layer.executed_BT), flat(layer.topk_BT), flat(layer.score_BT.to(at::kDouble))});
  if (likeliest > 0) add_likeliest(pass, model, output.x_ND, likeliest);
  return pass;
}

// Hands on the tokens in the order of the text; the loss of a token is that of the position before it.
class Walk {
 public:
  Walk(Tokenizer const& tokenizer, std::function<void(TokenOutcome const&)> const& sink) : tokenizer_(tokenizer), sink_(sink) {}

  // topk: null where both routings are one.
  void add(Batch const& batch, Pass const* topk, Pass const& causal) {
    one_by_one_ = !batch.places.empty();
    for (int64_t sequence = 0; sequence < batch.sequences; ++sequence) {
      int64_t const begin = sequence * batch.length;
      WindowPlace const place = one_by_one_ ? batch.places[static_cast<size_t>(sequence)] : WindowPlace{};
      if (one_by_one_ && (batch.first_sample + sequence == 0 || place.document != document_)) {
        finish();
        document_ = place.document;
        put_before_ = 1 + tokenizer_.starts_texts();
      }
      for (int64_t n = begin + place.context; n < begin + batch.length; ++n) add_token(batch, n, topk, causal);
    }
  }

  // Ends the text, or a document of several that are read one by one.
  void finish() {
    if (last_target_ != ignore_target) {
      TokenOutcome token = token_of(last_target_);
      token.read = false;
      sink_(token);
    }
    last_target_ = ignore_target;
    next_topk_ = next_causal_ = std::nan("");
    next_top_ids_.clear();
    next_top_log_probabilities_.clear();
    offset_ = 0;
  }

 private:
  void add_token(Batch const& batch, int64_t n, Pass const* topk, Pass const& causal) {
    auto const at = static_cast<size_t>(n);
    TokenOutcome token = token_of(batch.tokens[at]);
    token.window = batch.first_sample + n / batch.length;
    token.depth = causal.depth_N.const_data_ptr<int64_t>()[n];
    for (Pass::Layer const& layer : causal.layers) {
      double const score = layer.score_N.const_data_ptr<double>()[n];
      token.selected.push_back(layer.executed_N.const_data_ptr<bool>()[n]);
      token.selected_topk.push_back(layer.topk_N.const_data_ptr<bool>()[n]);
      token.score.push_back(std::isfinite(score) ? score : std::nan(""));
    }
    sink_(token);
    last_target_ = batch.targets[at];
    auto const loss = [&](Pass const& pass) {
      return last_target_ == ignore_target ? std::nan("") : pass.losses_N.const_data_ptr<double>()[n];
    };
    next_causal_ = loss(causal);
    next_topk_ = loss(topk ? *topk : causal);
    remember_likeliest(causal, n);
  }

  void remember_likeliest(Pass const& pass, int64_t n) {
    next_top_ids_.clear();
    next_top_log_probabilities_.clear();
    if (last_target_ == ignore_target || !pass.top_ids_NK.defined()) return;
    int64_t const K = pass.top_ids_NK.size(1);
    auto const* const ids = pass.top_ids_NK.const_data_ptr<int64_t>() + n * K;
    auto const* const log_probabilities = pass.top_log_probabilities_NK.const_data_ptr<double>() + n * K;
    next_top_ids_.assign(ids, ids + K);
    next_top_log_probabilities_.assign(log_probabilities, log_probabilities + K);
  }

  TokenOutcome token_of(int64_t id) {
    TokenOutcome token;
    token.id = id;
    if (put_before_ == 0) token.piece = tokenizer_.piece(static_cast<int32_t>(id));
    put_before_ = std::max<int64_t>(0, put_before_ - 1);
    token.document = document_;
    token.offset = offset_;
    token.loss_topk = next_topk_;
    token.loss_causal = next_causal_;
    token.top_ids = next_top_ids_;
    token.top_log_probabilities = next_top_log_probabilities_;
    offset_ += static_cast<int64_t>(token.piece.size());
    if (!one_by_one_ && id == tokenizer_.document_end()) {
      ++document_;
      offset_ = 0;
    }
    return token;
  }

  Tokenizer const& tokenizer_;
  std::function<void(TokenOutcome const&)> const& sink_;
  bool one_by_one_ = false;  // windows do not go over document borders
  int64_t put_before_ = 0;   // so many of the next tokens are no part of the text
  int64_t document_ = 0, offset_ = 0;
  int64_t last_target_ = ignore_target;
  double next_topk_ = std::nan(""), next_causal_ = std::nan("");  // losses of predicting the next token
  std::vector<int64_t> next_top_ids_;
  std::vector<double> next_top_log_probabilities_;
};

}  // namespace

bool visit_tokens(LanguageModel& model, Windows const& text, Tokenizer const& tokenizer, EvalSettings const& settings,
                  std::function<void(TokenOutcome const&)> const& sink, std::function<bool()> const& stop) {
  int64_t const length = model.model_config().context;
  int64_t const windows = evaluated_windows(text, length, settings.tokens);
  bool const two = model.plan().uses_noncausal_routing() && settings.routing != EvalRouting::causal;
  Walk walk(tokenizer, sink);
  EvalMode const mode(model);
  DevicePrefetcher to_device(model.device());
  Progress progress("reading", windows, Progress::Counts::windows);
  for (int64_t first = 0; first < windows;) {
    if (stop && stop()) return false;
    Batch const batch = text.at(first, std::min(settings.micro_sequences, windows - first));
    DeviceBatch const on_device = to_device.load(batch);
    NoiseKey const noise{settings.seed, 0, first * length, NoiseStream::evaluation};
    first += batch.sequences;
    Pass const causal = run_pass(model, on_device, Routing::causal, noise, settings.likeliest);
    std::optional<Pass> const topk = two ? std::optional(run_pass(model, on_device, Routing::topk, noise, 0)) : std::nullopt;
    walk.add(batch, topk ? &*topk : nullptr, causal);
    progress.advance(batch.sequences);
  }
  walk.finish();
  return true;
}

}  // namespace isobath
