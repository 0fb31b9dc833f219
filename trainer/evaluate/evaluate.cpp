#include "trainer/evaluate/evaluate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/error.h"
#include "data/packed_examples.h"
#include "data/progress.h"
#include "trainer/evaluate/routing_statistics.h"
#include "trainer/train/device_prefetcher.h"

namespace isobath {

namespace {

// Sums of one routing over the batches; the tensors are read once, at the end.
struct EvalSums {
  std::vector<at::Tensor> losses;  // fp64, one a batch, so that their sum does not depend on who evaluates which; other ranks': 0
  at::Tensor routing_NC;
  RoutingStatistics statistics;
};

void add_batch(LanguageModel& model, DeviceBatch const& batch, Routing routing, NoiseKey const& noise, bool with_statistics,
               EvalSums& sums) {
  ModelOutput const output = model.forward(batch.input(0, batch.sequences), routing, noise);
  sums.losses.push_back(model.loss_sum(output, batch.targets_N(0, batch.sequences)).to(at::kDouble));
  if (output.routing_NC.defined()) sums.routing_NC = sums.routing_NC.add(output.routing_NC);
  if (with_statistics) sums.statistics.add(output, batch.tokens_BT);
}

// A batch that another rank evaluates.
void pass_batch(Batch const& batch, at::Device device, EvalSums& sums) {
  sums.losses.push_back(at::zeros({}, at::TensorOptions().dtype(at::kDouble).device(device)));
  sums.statistics.pass(batch.sequences * batch.length);
}

// What the model read: the last sequence may be shorter than the others.
struct EvaluatedText {
  int64_t sequences = 0, positions = 0;
  Int128 pairs;
};

// The sum over the batches, in their order.
double sum_of(std::vector<at::Tensor> const& losses, AcrossRanks const& ranks) {
  at::Tensor const all_XL = ranks.joined(at::stack(losses).unsqueeze(0)).cpu();
  double sum = 0;
  for (int64_t batch = 0; batch < all_XL.size(1); ++batch) sum += all_XL[batch % all_XL.size(0)][batch].item<double>();
  return sum;
}

RoutingResult routing_result(LanguageModel const& model, EvalSums& sums, EvaluatedText const& text, Evaluation const& total,
                             AcrossRanks const& ranks) {
  RoutingResult result;
  double const nats = sum_of(sums.losses, ranks);
  sums.statistics.join(ranks);
  if (sums.routing_NC.defined()) sums.routing_NC = ranks.joined(sums.routing_NC.unsqueeze(0)).sum(0);
  result.loss = nats / static_cast<double>(total.tokens);
  result.bits_per_byte = total.bytes > 0 ? nats / std::numbers::ln2 / static_cast<double>(total.bytes) : std::nan("");
  RoutingRates rates = routing_rates(sums.routing_NC, text.positions, model.plan().uses_noncausal_routing());
  Ledger const ledger = make_ledger(model.model_config(), model.depth_config(), model.vocab_size());
  // As one sequence of so many tokens and pairs; only gates by sequence count sequences.
  Int128 flops = ledger.forward(1, text.positions, rates.work, text.pairs);
  if (ledger.gate_by_sequence) flops += Int128(text.sequences - 1) * ledger.gate_row;
  result.forward_flops_per_token = static_cast<double>(flops) / static_cast<double>(text.positions);
  result.mean_depth = static_cast<double>(ledger.dense_layers);
  for (double const share : rates.capacity) result.mean_depth += share;
  result.capacity = std::move(rates.capacity);
  result.precision = std::move(rates.precision);
  result.recall = std::move(rates.recall);
  result.layers = sums.statistics.layers();
  if (!model.plan().uses_noncausal_routing()) {
    for (LayerStatistics& layer : result.layers) layer.f1 = layer.f1_ceiling = std::nan("");
  }
  return result;
}

}  // namespace

EvalMode::EvalMode(LanguageModel& model) : model_(model), was_training_(model.is_training()), had_gradients_(at::GradMode::is_enabled()) {
  model_.eval();
  at::GradMode::set_enabled(false);
}

EvalMode::~EvalMode() {
  at::GradMode::set_enabled(had_gradients_);
  model_.train(was_training_);
}

RoutingRates routing_rates(at::Tensor const& routing_NC, int64_t tokens, bool decides) {
  RoutingRates rates;
  if (!routing_NC.defined()) return rates;
  at::Tensor const counts_NC = routing_NC.cpu().contiguous();
  int64_t const* row = counts_NC.const_data_ptr<int64_t>();
  auto const ratio = [](int64_t a, int64_t b) {
    return b > 0 ? static_cast<double>(a) / static_cast<double>(b) : std::numeric_limits<double>::quiet_NaN();
  };
  for (int64_t layer = 0; layer < counts_NC.size(0); ++layer, row += routing_columns) {
    rates.capacity.push_back(ratio(row[routing_rows], tokens));
    rates.precision.push_back(ratio(row[routing_both], decides ? row[routing_causal] : 0));
    rates.recall.push_back(ratio(row[routing_both], decides ? row[routing_topk] : 0));
    rates.work.push_back({row[routing_rows], row[routing_pairs]});
  }
  return rates;
}

int64_t calibrate(LanguageModel& model, TokenStream const& train, int64_t tokens, EvalSettings const& settings) {
  int64_t const length = model.model_config().context;
  if (model.offsets().numel() == 0) return 0;
  if (tokens == 0) {
    model.set_offsets(at::zeros_like(model.offsets()));
    return 0;
  }
  auto const text = training_windows(train, length, settings.seed, settings.isolate_documents);
  int64_t const samples = text->count(), windows = std::clamp<int64_t>(tokens / length, 1, samples);
  EvalMode const mode(model);
  Batch const all = text->at(samples - windows, windows);
  DevicePrefetcher to_device(model.device());
  DeviceBatch const loaded = to_device.load(all);
  std::vector<ModelInput> batches;
  for (int64_t done = 0; done < windows; done += settings.micro_sequences)
    batches.push_back(loaded.input(done, std::min(settings.micro_sequences, windows - done)));
  model.share_budget(settings.budget == CalibrationBudget::model);
  model.calibrate(batches, {settings.seed, 0, 0, NoiseStream::calibration}, settings.ranks);
  return windows * length;
}

int64_t default_eval_sequences(ModelConfig const& model, bool gpu) { return std::max<int64_t>(1, (gpu ? 65536 : 4096) / model.context); }

EvalSettings eval_settings(Config const& config, LanguageModel const& model) {
  EvalSettings settings;
  settings.routing = config.eval.routing;
  settings.budget = config.eval.calibration_budget;
  settings.tokens = config.eval.final_tokens;
  settings.micro_sequences = default_eval_sequences(config.model, model.device().is_cuda());
  settings.isolate_documents = config.data.isolates();
  settings.seed = static_cast<uint64_t>(config.seed);
  return settings;
}

int64_t evaluated_windows(Windows const& text, int64_t length, int64_t tokens) {
  int64_t const all = text.count();
  return tokens > 0 ? std::min(all, std::max<int64_t>(1, tokens / length)) : all;
}

std::unique_ptr<Windows> validation_windows(TokenStream const& valid, LanguageModel const& model, EvalSettings const& settings) {
  return ordered_windows(valid, model.model_config().context, settings.isolate_documents);
}

std::optional<Evaluation> evaluate(LanguageModel& model, Windows const& text, Tokenizer const& tokenizer, EvalSettings const& settings,
                                   std::function<bool()> const& stop) {
  int64_t const length = model.model_config().context;
  int64_t const windows = evaluated_windows(text, length, settings.tokens);
  if (windows == 0) throw Error(ExitCode::data, "there is no validation text: raise data.valid_fraction or give data.valid_sources");

  std::vector<int64_t> piece_bytes(static_cast<size_t>(tokenizer.vocab_size()));
  for (size_t id = 0; id < piece_bytes.size(); ++id)
    piece_bytes[id] = static_cast<int64_t>(tokenizer.piece(static_cast<int32_t>(id)).size());

  bool const one = !model.plan().uses_noncausal_routing();  // top-k and causal routing are the same
  bool const topk = one || settings.routing != EvalRouting::causal, causal = !one && settings.routing != EvalRouting::topk;

  EvalMode const mode(model);
  Evaluation total;
  AcrossRanks const ranks = settings.ranks;
  auto const routed = static_cast<int64_t>(model.plan().routed_layers().size());
  at::Tensor none_NC;
  if (routed > 0) none_NC = at::zeros({routed, routing_columns}, at::TensorOptions().dtype(at::kLong).device(model.device()));
  EvalSums topk_sums{{}, none_NC, {model.vocab_size(), length, model.device()}}, causal_sums = topk_sums;
  bool stopped = false;
  Int128 pairs;  // of a query and a key
  DevicePrefetcher to_device(model.device());
  int64_t positions = 0;
  Progress progress("evaluating", windows, Progress::Counts::windows);
  for (int64_t first = 0, number = 0; first < windows; ++number) {
    if (stopped = stop && stop(); stopped) break;
    Batch const batch = text.at(first, std::min(settings.micro_sequences, windows - first));
    if (number % ranks.size == ranks.rank) {
      DeviceBatch const on_device = to_device.load(batch);
      NoiseKey const noise{settings.seed, 0, first * length, NoiseStream::evaluation};
      if (topk) add_batch(model, on_device, Routing::topk, noise, !causal, topk_sums);
      if (causal) add_batch(model, on_device, Routing::causal, noise, true, causal_sums);
    } else {
      if (topk) pass_batch(batch, model.device(), topk_sums);
      if (causal) pass_batch(batch, model.device(), causal_sums);
    }
    total.tokens += batch.target_count;
    positions += batch.sequences * batch.length;
    pairs += batch.pairs;
    first += batch.sequences;
    progress.advance(batch.sequences);
    for (int64_t const target : batch.targets) {
      if (target != ignore_target) total.bytes += piece_bytes.at(static_cast<size_t>(target));
    }
  }
  if (ranks.joined(at::full({1}, stopped)).any().item<bool>()) return std::nullopt;
  if (windows == text.count()) total.bytes = text.text_bytes().value_or(total.bytes);
  EvaluatedText const read{windows, positions, pairs};
  if (topk) total.topk = routing_result(model, topk_sums, read, total, ranks);
  if (causal) total.causal = routing_result(model, causal_sums, read, total, ranks);
  if (one && settings.routing != EvalRouting::topk) total.causal = total.topk;
  if (one && settings.routing == EvalRouting::causal) total.topk.reset();
  return total;
}

}  // namespace isobath
