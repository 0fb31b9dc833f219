#include "trainer/run/records.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/units.h"
#include "format/total.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/metrics/metric.h"
#include "trainer/tasks/predictions.h"

namespace isobath {

namespace {

using Json = nlohmann::ordered_json;

double mean_of(std::vector<double> const& values) {
  double sum = 0;
  for (double const value : values) sum += value;
  return values.empty() ? std::nan("") : sum / static_cast<double>(values.size());
}

Json record_head(char const* kind, TrainState const& state) {
  return {{"kind", kind}, {"step", state.step}, {"tokens", state.tokens}, {"train_flops_total", total_json(state.train_flops)}};
}

// Adds metrics. The keys that a record has already stay: its exact totals, among them.
void add_metrics(Json& record, Json const& metrics) {
  for (auto const& [key, value] : metrics.items())
    if (!record.contains(key)) record[key] = value;
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
  reading.divergence = mean(MetricWindow::divergence);
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
  RunFacts facts;
  facts.params = parameters.total;
  facts.params_non_embedding = parameters.non_embedding();
  facts.vocab_size = vocab_size;
  facts.steps = schedule.total_steps();
  facts.batch_tokens = config.train.batch_tokens;
  facts.micro_batch_tokens = state.micro_batch_tokens;
  facts.train_flops_per_step = schedule.mean_step_flops();
  facts.forward_flops_per_token =
      static_cast<double>(planned_forward_flops(config.model, config.depth, vocab_size, 1, T)) / static_cast<double>(T);
  facts.kv_bytes_per_token = kv_bytes_per_token(config.model, config.depth, bytes_per_value(config));
  facts.epochs = epochs;
  facts.train_tokens = data.train_tokens;
  facts.valid_tokens = data.valid_tokens;
  facts.train_bytes = data.train_bytes;
  facts.valid_bytes = data.valid_bytes;
  facts.documents = data.documents;
  facts.peak_flops = peak.per_s;
  facts.ranks = machine.ranks;
  facts.threads = machine.threads;
  facts.pretraining_flops = state.origin.pretraining_flops;
  Json record = {{"kind", "run"},
                 {"step", state.step},
                 {"name", config.name},
                 {"version", machine.version},
                 {"build", build_id()},
                 {"seed", config.seed},
                 {"train_flops_planned", total_json(schedule.total_flops())},
                 {"tokenizer", data.tokenizer->fingerprint()},
                 {"valid_text", data.valid_text},
                 {"device", machine.device},
                 {"precision", config.precision.name()},
                 {"peak_flops_source", peak.source},
                 {"cpu_capability", machine.cpu_capability},
                 {"gemm", machine.gemm}};
  add_metrics(record, metrics_json(facts));
  return record;
}

Json train_record(TrainState const& state, TrainReading const& reading) {
  Json record = record_head("train", state);
  add_metrics(record, metrics_json(reading));
  return record;
}

Json validation_record(TrainState const& state, ValidationReading const& reading, bool final, std::string const& sample) {
  Json record = record_head("validation", state);
  record["final"] = final;
  add_metrics(record, metrics_json(reading));
  Json histograms = Json::array();
  for (LayerStatistics const& layer : reading.evaluation.causal_or_topk().layers) {
    auto const& [low, high, tokens, picked] = layer.scores;
    histograms.push_back({{"low", finite_or_null(low)}, {"high", finite_or_null(high)}, {"tokens", tokens}, {"picked", picked}});
  }
  if (!histograms.empty()) record["score_histogram"] = std::move(histograms);
  if (!sample.empty()) record["sample"] = sample;
  return record;
}

Json task_record(TrainState const& state, ScoredTask const& task, bool final) {
  Json record = record_head("task", state);
  record["final"] = final;
  add_metrics(record, task_json(task.task->file.name, task.routing, task.result));
  return record;
}

Json checkpoint_record(TrainState const& state, std::string const& path, std::string const& reason) {
  Json record = record_head("checkpoint", state);
  record["path"] = path;
  record["reason"] = reason;
  return record;
}

EndReading totals_of(TrainState const& state) {
  EndReading reading;
  reading.step = state.step;
  reading.tokens = state.tokens;
  reading.train_flops = static_cast<double>(state.train_flops);
  reading.train_seconds = state.train_seconds;
  reading.data_wait_seconds = state.data_wait_seconds;
  reading.step_time_median = reading.tokens_per_s = reading.wall_seconds = std::nan("");
  return reading;
}

Json end_record(TrainState const& state, std::string const& status, EndReading const& reading) {
  Json record = record_head("end", state);
  record["status"] = status;
  if (state.ended_by_patience) record["reason"] = "train.patience";
  add_metrics(record, metrics_json(reading));
  return record;
}

std::string progress_line(TrainState const& state, Schedule const& schedule, TrainReading const& train) {
  WindowReading const& reading = train.window;
  Speed const& speed = train.speed;
  double const done = schedule.progress(state.step, state.train_flops);
  std::string line = fmt::format("step {}/{} {:.1f}%", state.step, schedule.total_steps(), 100 * done);
  line += fmt::format(" | loss {:.3f} | lr {:.1e} | gnorm {:.2f}", reading.loss, train.learning_rate, reading.grad_norm);
  if (!reading.routing.capacity.empty()) {
    double const precision = mean_of(reading.routing.precision), recall = mean_of(reading.routing.recall);
    line += fmt::format(" | routed {:.1f}%", 100 * mean_of(reading.routing.capacity));
    if (precision + recall > 0) line += fmt::format(" F1 {:.2f}", 2 * precision * recall / (precision + recall));
  }
  line += " | " + format_si(speed.tokens_per_s) + " tok/s";
  if (speed.mfu > 0) line += fmt::format(" | mfu {:.0f}%", 100 * speed.mfu);
  double const waited = state.train_seconds > 0 ? state.data_wait_seconds / state.train_seconds : 0;
  if (waited > 0.05) line += fmt::format(" | data wait {:.0f}%", 100 * waited);
  if (state.step >= schedule.total_steps()) return line + " | the last validations follow";
  double const left = static_cast<double>(schedule.total_steps() - state.step) * state.train_seconds /
                      static_cast<double>(std::max<int64_t>(1, state.step));
  return line + " | eta " + format_seconds(left);
}

std::string validation_line(int64_t step, Evaluation const& evaluation, bool final) {
  std::string line =
      fmt::format("{} at step {}, on {} tokens:", final ? "result" : "validation", step, format_si(static_cast<double>(evaluation.tokens)));
  bool const both = evaluation.topk && evaluation.causal && !evaluation.causal->capacity.empty();
  RoutingResult const& shown = evaluation.causal_or_topk();
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
