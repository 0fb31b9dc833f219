// Reads run folders into RunResult.
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>

#include "config/io.h"
#include "core/error.h"
#include "format/total.h"
#include "model/depth/plan.h"
#include "trainer/report/record_number.h"
#include "trainer/report/report.h"

namespace isobath {
namespace {

using nlohmann::json;

constexpr size_t most_training_points = 150;

int64_t integer(json const& record, char const* key, int64_t otherwise = 0) {
  auto const found = record.find(key);
  return found != record.end() && found->is_number() ? found->get<int64_t>() : otherwise;
}

Int128 total(json const& record, char const* key) {
  auto const found = record.find(key);
  return found != record.end() ? read_total(*found).value_or(0) : Int128();
}

std::string text(json const& record, char const* key) {
  auto const found = record.find(key);
  return found != record.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// JSON has no NaN: what was not measured is null there.
std::vector<double> numbers(json const& record, char const* key) {
  std::vector<double> values;
  auto const found = record.find(key);
  if (found == record.end() || !found->is_array()) return values;
  for (json const& value : *found) values.push_back(value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN());
  return values;
}

std::vector<int64_t> counts(json const& record, char const* key) {
  std::vector<int64_t> values;
  for (double value : numbers(record, key)) values.push_back(std::isfinite(value) ? static_cast<int64_t>(value) : 0);
  return values;
}

std::vector<ScoreHistogram> histograms(json const& record, char const* key) {
  std::vector<ScoreHistogram> layers;
  auto const found = record.find(key);
  if (found == record.end() || !found->is_array()) return layers;
  for (json const& layer : *found) {
    ScoreHistogram scores;
    if (layer.is_object()) scores = {number(layer, "low"), number(layer, "high"), counts(layer, "tokens"), counts(layer, "picked")};
    bool const whole = scores.high > scores.low && scores.tokens.size() == scores.picked.size();
    layers.push_back(whole ? std::move(scores) : ScoreHistogram());
  }
  return layers;
}

// F1 for records of older runs, which lack it.
std::vector<double> f1_of(std::vector<double> const& precision, std::vector<double> const& recall) {
  std::vector<double> f1;
  for (size_t i = 0; i < std::min(precision.size(), recall.size()); ++i) {
    double const product = precision[i] * recall[i];
    f1.push_back(product == 0 ? 0 : 2 * product / (precision[i] + recall[i]));
  }
  return f1;
}

ValidationPoint validation_point(json const& record) {
  ValidationPoint point;
  point.step = integer(record, "step");
  point.tokens = integer(record, "tokens");
  point.train_flops = total(record, "train_flops_total");
  point.time_s = number(record, "time_s", 0);
  take_metrics<ValidationReading>(record, point.metrics);
  if (!point.metrics.contains("router_f1"))
    point.metrics.set("router_f1", f1_of(point.metrics.list("router_precision"), point.metrics.list("router_recall")));
  point.scores = histograms(record, "score_histogram");
  return point;
}

TrainingPoint training_point(json const& record) {
  TrainingPoint point;
  point.step = integer(record, "step");
  point.train_flops = static_cast<double>(total(record, "train_flops_total"));
  for (Metric const* metric : training_curves()) point.values.push_back(number(record, metric->key.c_str()));
  return point;
}

// Means of neighbours, so that no more than `most` points are left.
std::vector<TrainingPoint> thinned(std::vector<TrainingPoint> const& all, size_t most) {
  std::vector<TrainingPoint> means;
  size_t const together = (all.size() + most - 1) / most;
  for (size_t from = 0; from < all.size(); from += together) {
    size_t const to = std::min(from + together, all.size());
    TrainingPoint mean = all[to - 1];
    for (size_t i = 0; i < mean.values.size(); ++i) {
      std::vector<double> finite;
      for (size_t at = from; at < to; ++at)
        if (std::isfinite(all[at].values[i])) finite.push_back(all[at].values[i]);
      mean.values[i] = finite.empty() ? std::numeric_limits<double>::quiet_NaN() : spread(finite).mean;
    }
    means.push_back(std::move(mean));
  }
  return means;
}

// What the records of a run say; `result`: its final validation.
void take(json const& record, RunResult& run, std::optional<ValidationPoint>& result) {
  std::string const kind = text(record, "kind");
  run.step = std::max(run.step, integer(record, "step"));
  if (kind == "run") {
    take_metrics<RunFacts>(record, run.metrics);
    run.tokenizer = text(record, "tokenizer");
    run.valid_text = text(record, "valid_text");
    run.device = text(record, "device");
    std::string const build = text(record, "build");
    if (!build.empty() && std::find(run.builds.begin(), run.builds.end(), build) == run.builds.end()) run.builds.push_back(build);
    ++run.schedules;
    run.status.clear();  // a resumed run has not ended yet
    run.tasks.clear();   // of the end of its schedule before
  } else if (kind == "validation") {
    ValidationPoint const point = validation_point(record);
    // The last step is validated twice: on eval.tokens for the curve, and on eval.final_tokens for the result.
    if (record.value("final", false)) result = point;
    if (run.curve.empty() || run.curve.back().step < point.step) run.curve.push_back(point);
    if (std::string const sample = text(record, "sample"); !sample.empty()) run.sample = sample;
  } else if (kind == "task") {
    take_task(record, run);
  } else if (kind == "train") {
    run.training.push_back(training_point(record));
  } else if (kind == "end") {
    take_metrics<EndReading>(record, run.metrics);
    run.status = text(record, "status");
    run.train_flops = total(record, "train_flops_total");
    run.time_s = number(record, "time_s", 0);
  }
}

// A model whose two routings are the same records what it has measured under one of them.
void complete_causal(MetricMap& metrics, RunResult const& run) {
  auto const fill = [&](char const* key, double value) {
    if (std::isnan(metrics[key]) && std::isfinite(value)) metrics.set(key, {value});
  };
  fill("loss_causal", metrics["loss_topk"]);
  fill("bits_per_byte_causal", metrics["bits_per_byte_topk"]);
  fill("forward_flops_per_token_causal", run.metrics["forward_flops_per_token_topk"]);
  if (plan_depth(run.config.model, run.config.depth)->routed_layers().empty())
    fill("mean_depth", static_cast<double>(run.config.model.layers));
}

json parse_or_null(fs::path const& path) {
  if (!fs::is_regular_file(path)) return nullptr;
  return json::parse(read_file(path), nullptr, false);
}

DepthText read_depth_text(fs::path const& path) {
  DepthText result;
  json const file = parse_or_null(path);
  if (!file.is_object()) return result;
  for (json const& piece : file.value("pieces", json::array())) result.pieces.push_back(piece.is_string() ? piece.get<std::string>() : "");
  for (double depth : numbers(file, "depth")) result.depth.push_back(static_cast<int64_t>(depth));
  result.loss = numbers(file, "loss");
  result.layers = integer(file, "layers");
  result.loss.resize(result.pieces.size(), std::numeric_limits<double>::quiet_NaN());
  if (result.depth.size() != result.pieces.size()) return {};
  return result;
}

// The file's JSON again, in one line; empty when it is none.
std::string read_depth_analysis(fs::path const& path) {
  if (!fs::is_regular_file(path)) return "";
  auto const file = nlohmann::ordered_json::parse(read_file(path), nullptr, false);
  return file.is_object() && file.contains("words") ? file.dump() : "";
}

std::vector<Decoding> read_decoding(fs::path const& path) {
  std::vector<Decoding> all;
  json const file = parse_or_null(path);
  if (!file.is_object()) return all;
  for (json const& one : file.value("batches", json::array()))
    all.push_back({integer(one, "batch"), integer(one, "prompt"), number(one, "tokens_per_s"), number(one, "kv_bytes_per_token"),
                   number(one, "blocks_per_token"), number(one, "prompt_tokens_per_s")});
  return all;
}

}  // namespace

RunResult read_run(fs::path const& folder, std::string const& arm) {
  RunResult run;
  run.arm = arm;
  run.folder = folder;
  run.begun = true;
  run.running = is_locked(folder / ".lock");
  if (!fs::exists(folder / "metrics.jsonl")) throw Error(ExitCode::data, folder.string() + " is no run folder: it holds no metrics.jsonl");
  if (!fs::exists(folder / "config.yaml")) throw Error(ExitCode::data, folder.string() + " is no run folder: it holds no config.yaml");
  run.config = load_config(folder / "config.yaml", {}).config;

  std::optional<ValidationPoint> result;
  std::istringstream lines(read_file(folder / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    json const record = json::parse(line, nullptr, false);
    if (record.is_object()) take(record, run, result);  // a line cut short by a crash is no record
  }
  if (fs::exists(folder / "command.txt")) {
    run.command = read_file(folder / "command.txt");
    while (!run.command.empty() && run.command.back() == '\n') run.command.pop_back();
  }
  json const environment = parse_or_null(folder / "environment.json");
  if (environment.is_object())
    for (auto const& [key, value] : environment.items())
      if (value.is_primitive() && !value.is_null()) run.environment[key] = value.is_string() ? value.get<std::string>() : value.dump();
  json const process = parse_or_null(folder / "process.json");
  // On a GPU process.json holds only the host's memory, so that of the `end` record is kept.
  bool const on_gpu = run.environment.contains("device") && run.environment.at("device") != "cpu";
  if (process.is_object() && !on_gpu)
    run.metrics.set("peak_memory_bytes", {std::fmax(run.metrics["peak_memory_bytes"], number(process, "peak_memory_bytes"))});
  run.training = thinned(run.training, most_training_points);
  run.depth_text = read_depth_text(folder / "depth_text.json");
  run.depth_analysis = read_depth_analysis(folder / "depth_analysis.json");
  run.decoding = read_decoding(folder / "decode.json");
  take_answers(run);
  if (!plan_depth(run.config.model, run.config.depth)->uses_noncausal_routing()) {
    for (ValidationPoint& point : run.curve) complete_causal(point.metrics, run);
    if (result) complete_causal(result->metrics, run);
  }
  if (!result && !run.curve.empty()) result = run.curve.back();  // ended without a final validation
  if (result) {
    for (auto const& [key, values] : result->metrics) run.metrics.set(key, values);
    run.scores = result->scores;
  }
  derive_metrics(run.config, run.metrics);
  return run;
}

}  // namespace isobath
