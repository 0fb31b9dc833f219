#include "trainer/run/records.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <ranges>

#include "core/units.h"
#include "format/total.h"

namespace isobath {

namespace {

using Json = nlohmann::ordered_json;

// What was not measured is null: JSON has no NaN.
Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json finite_or_null(std::vector<double> const& values) {
  Json array = Json::array();
  for (double const value : values) array.push_back(finite_or_null(value));
  return array;
}

double mean_of(std::vector<double> const& values) {
  double sum = 0;
  for (double const value : values) sum += value;
  return values.empty() ? std::nan("") : sum / static_cast<double>(values.size());
}

Json record_head(char const* kind, TrainState const& state) {
  return {{"kind", kind}, {"step", state.step}, {"tokens", state.tokens}, {"train_flops_total", total_json(state.train_flops)}};
}

}  // namespace

WindowReading read_window(MetricWindow const& window, int64_t tokens, bool decides) {
  at::Tensor const sums_S = window.sums_S.cpu(), counts_S = window.counts_S.cpu();
  double const *sums = sums_S.const_data_ptr<double>(), *counts = counts_S.const_data_ptr<double>();
  auto const mean = [&](MetricWindow::Value value) { return counts[value] > 0 ? sums[value] / counts[value] : std::nan(""); };
  WindowReading reading;
  reading.loss = mean(MetricWindow::loss);
  reading.router_loss = mean(MetricWindow::router_loss);
  reading.predictor_loss = mean(MetricWindow::predictor_loss);
  reading.z_loss = mean(MetricWindow::z_loss);
  reading.gate_loss = mean(MetricWindow::gate_loss);
  reading.grad_norm = mean(MetricWindow::grad_norm);
  reading.skipped = static_cast<int64_t>(window.skipped.item<double>());
  reading.streak = static_cast<int64_t>(window.streak.item<double>());
  reading.predictor_skipped = static_cast<int64_t>(window.predictor_skipped.item<double>());
  reading.predictor_streak = static_cast<int64_t>(window.predictor_streak.item<double>());
  reading.routing = routing_rates(window.routing_NC, tokens, decides);
  return reading;
}

Json run_record(TrainState const& state, Config const& config, Machine const& machine, PeakFlops const& peak, PlannedRun const& plan) {
  auto const& [schedule, data, epochs] = plan;
  int64_t const vocab_size = data.tokenizer->vocab_size(), T = config.model.context;
  Parameters const parameters = count_parameters(config.model, config.depth, vocab_size);
  return {
      {"kind", "run"},
      {"step", state.step},
      {"name", config.name},
      {"version", machine.version},
      {"build", build_id()},
      {"seed", config.seed},
      {"params", parameters.total},
      {"params_non_embedding", parameters.non_embedding()},
      {"vocab_size", vocab_size},
      {"steps", schedule.total_steps()},
      {"batch_tokens", config.train.batch_tokens},
      {"micro_batch_tokens", state.micro_batch_tokens},
      {"train_flops_planned", total_json(schedule.total_flops())},
      {"train_flops_per_step", schedule.mean_step_flops()},
      {"forward_flops_per_token_topk",
       static_cast<double>(planned_forward_flops(config.model, config.depth, vocab_size, 1, T)) / static_cast<double>(T)},
      {"kv_bytes_per_token", kv_bytes_per_token(config.model, config.depth, bytes_per_value(config))},
      {"epochs", epochs},
      {"train_tokens", data.train_tokens},
      {"valid_tokens", data.valid_tokens},
      {"train_bytes", data.train_bytes},
      {"valid_bytes", data.valid_bytes},
      {"documents", data.documents},
      {"tokenizer", data.tokenizer->fingerprint()},
      {"device", machine.device},
      {"precision", config.precision.name()},
      {"peak_flops", peak.per_s},
      {"peak_flops_source", peak.source},
      {"threads", machine.threads},
      {"cpu_capability", machine.cpu_capability},
      {"gemm", machine.gemm},
  };
}

Json train_record(TrainState const& state, WindowReading const& reading, double learning_rate, Speed const& speed, int64_t memory_bytes) {
  Json record = record_head("train", state);
  record["train_loss"] = finite_or_null(reading.loss);
  record["lr"] = learning_rate;
  record["grad_norm"] = finite_or_null(reading.grad_norm);
  record["time_s"] = state.train_seconds;
  record["data_wait_s"] = state.data_wait_seconds;
  record["tokens_per_s"] = finite_or_null(speed.tokens_per_s);
  record["mfu"] = finite_or_null(speed.mfu);
  record["mfu_6n"] = finite_or_null(speed.mfu_6n);
  record["memory_bytes"] = memory_bytes;
  record["skipped_steps"] = reading.skipped;
  if (!reading.routing.capacity.empty()) {
    record["aux_loss"] = finite_or_null(reading.router_loss);
    record["predictor_loss"] = finite_or_null(reading.predictor_loss);
    record["z_loss"] = finite_or_null(reading.z_loss);
    record["gate_loss"] = finite_or_null(reading.gate_loss);
    record["capacity_realised"] = finite_or_null(reading.routing.capacity);
    record["router_precision"] = finite_or_null(reading.routing.precision);
    record["router_recall"] = finite_or_null(reading.routing.recall);
  }
  return record;
}

Json validation_record(TrainState const& state, Evaluation const& evaluation, bool final, double seconds, std::string const& sample) {
  Json record = record_head("validation", state);
  record["time_s"] = state.train_seconds;
  record["eval_s"] = seconds;
  record["eval_tokens"] = evaluation.tokens;
  record["final"] = final;
  auto const add = [&](char const* routing, std::optional<RoutingResult> const& result) {
    if (!result) return;
    std::string const suffix = std::string("_") + routing;
    record["loss" + suffix] = finite_or_null(result->loss);
    record["bits_per_byte" + suffix] = finite_or_null(result->bits_per_byte);
    record["forward_flops_per_token" + suffix] = result->forward_flops_per_token;
    record["capacity" + suffix] = finite_or_null(result->capacity);
    record["mean_depth" + suffix] = result->mean_depth;
  };
  add("topk", evaluation.topk);
  add("causal", evaluation.causal);
  RoutingResult const& decided = evaluation.reported();
  record["router_precision"] = finite_or_null(decided.precision);
  record["router_recall"] = finite_or_null(decided.recall);
  if (!decided.layers.empty()) {
    auto const list = [&](char const* key, double LayerStatistics::*value) {
      std::vector<double> values;
      for (LayerStatistics const& layer : decided.layers) values.push_back(layer.*value);
      record[key] = finite_or_null(values);
    };
    list("router_f1", &LayerStatistics::f1);
    list("router_f1_ceiling", &LayerStatistics::f1_ceiling);
    list("choice_entropy_token", &LayerStatistics::entropy_token);
    list("choice_entropy_position", &LayerStatistics::entropy_position);
    list("dead_tokens", &LayerStatistics::dead);
    list("always_on_tokens", &LayerStatistics::always_on);
    Json& histograms = record["score_histogram"] = Json::array();
    for (auto const& [low, high, tokens, picked] : std::views::transform(decided.layers, &LayerStatistics::scores))
      histograms.push_back({{"low", finite_or_null(low)}, {"high", finite_or_null(high)}, {"tokens", tokens}, {"picked", picked}});
    record["calibration_tokens"] = evaluation.calibration_tokens;
  }
  if (!sample.empty()) record["sample"] = sample;
  return record;
}

void add_oracle(Json& record, std::optional<Oracle> const& oracle) {
  if (!oracle) return;
  record["branch_losses"] = finite_or_null(oracle->branch_losses);
  record["oracle_loss"] = finite_or_null(oracle->loss);
  record["oracle_loss_same_depth"] = finite_or_null(oracle->loss_same_depth);
  record["difficulty_correlation"] = finite_or_null(oracle->difficulty_correlation);
  record["difficulty_correlation_ci95"] = finite_or_null(std::vector{oracle->correlation_low, oracle->correlation_high});
}

Json checkpoint_record(TrainState const& state, std::string const& path, std::string const& reason) {
  Json record = record_head("checkpoint", state);
  record["path"] = path;
  record["reason"] = reason;
  return record;
}

Json end_record(TrainState const& state, std::string const& status, ProcessTimes const& times) {
  Json record = record_head("end", state);
  record["status"] = status;
  record["time_s"] = state.train_seconds;
  record["data_wait_s"] = state.data_wait_seconds;
  record["step_time_s_median"] = finite_or_null(times.step_time_median);
  record["tokens_per_s"] = finite_or_null(times.tokens_per_s);
  record["memory_bytes"] = times.memory_bytes;
  record["checkpoint_s"] = times.checkpoint_seconds;
  record["checkpoints"] = times.checkpoints;
  record["wall_s"] = finite_or_null(times.wall_seconds);
  return record;
}

std::string progress_line(TrainState const& state, Schedule const& schedule, WindowReading const& reading, double learning_rate,
                          Speed const& speed) {
  double const done = schedule.progress(state.step, state.train_flops);
  std::string line = fmt::format("step {}/{} {:.1f}%", state.step, schedule.total_steps(), 100 * done);
  line += fmt::format(" | loss {:.3f} | lr {:.1e} | gnorm {:.2f}", reading.loss, learning_rate, reading.grad_norm);
  if (!reading.routing.capacity.empty()) {
    double const precision = mean_of(reading.routing.precision), recall = mean_of(reading.routing.recall);
    line += fmt::format(" | routed {:.1f}%", 100 * mean_of(reading.routing.capacity));
    if (precision + recall > 0) line += fmt::format(" F1 {:.2f}", 2 * precision * recall / (precision + recall));
  }
  line += " | " + format_si(speed.tokens_per_s) + " tok/s";
  if (speed.mfu > 0) line += fmt::format(" | mfu {:.0f}%", 100 * speed.mfu);
  double const waited = state.train_seconds > 0 ? state.data_wait_seconds / state.train_seconds : 0;
  if (waited > 0.05) line += fmt::format(" | data wait {:.0f}%", 100 * waited);
  double const left = static_cast<double>(schedule.total_steps() - state.step) * state.train_seconds /
                      static_cast<double>(std::max<int64_t>(1, state.step));
  return line + " | eta " + format_seconds(left);
}

std::string validation_line(TrainState const& state, Evaluation const& evaluation) {
  std::string line = fmt::format("validation at step {}:", state.step);
  bool const both = evaluation.topk && evaluation.causal && !evaluation.causal->capacity.empty();
  RoutingResult const& shown = evaluation.reported();
  line += fmt::format(" loss {:.4f}", shown.loss);
  if (both) line += fmt::format(" causal, {:.4f} top-k", evaluation.topk->loss);
  line += fmt::format(" | {:.4f} bits per byte", shown.bits_per_byte);
  if (!shown.capacity.empty()) {
    auto const mean = [&](double LayerStatistics::*value) {
      std::vector<double> values;
      for (LayerStatistics const& layer : shown.layers) values.push_back(layer.*value);
      return mean_of(values);
    };
    line += fmt::format(" | routed {:.1f}% | depth {:.2f}", 100 * mean_of(shown.capacity), shown.mean_depth);
    double const f1 = mean(&LayerStatistics::f1);
    if (std::isfinite(f1)) line += fmt::format(" | F1 {:.3f} of {:.3f}", f1, mean(&LayerStatistics::f1_ceiling));
  }
  return line;
}

}  // namespace isobath
