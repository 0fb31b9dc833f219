// Reads run folders into RunResult.
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "config/io.h"
#include "core/error.h"
#include "format/total.h"
#include "model/depth/plan.h"
#include "model/ledger/ledger.h"
#include "trainer/report/report.h"

namespace isobath {
namespace {

using nlohmann::json;

double number(json const& record, char const* key, double otherwise = std::numeric_limits<double>::quiet_NaN()) {
  auto const found = record.find(key);
  return found != record.end() && found->is_number() ? found->get<double>() : otherwise;
}

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
  point.loss_topk = number(record, "loss_topk");
  point.loss_causal = number(record, "loss_causal");
  point.bits_per_byte_topk = number(record, "bits_per_byte_topk");
  point.bits_per_byte_causal = number(record, "bits_per_byte_causal");
  point.forward_flops_causal = number(record, "forward_flops_per_token_causal");
  point.mean_depth = number(record, "mean_depth_causal");
  point.oracle_loss = number(record, "oracle_loss_same_depth");
  point.capacity = numbers(record, "capacity_causal");
  point.precision = numbers(record, "router_precision");
  point.recall = numbers(record, "router_recall");
  point.f1 = record.contains("router_f1") ? numbers(record, "router_f1") : f1_of(point.precision, point.recall);
  point.f1_ceiling = numbers(record, "router_f1_ceiling");
  point.token_entropy = numbers(record, "choice_entropy_token");
  point.position_entropy = numbers(record, "choice_entropy_position");
  point.dead_tokens = numbers(record, "dead_tokens");
  point.always_on_tokens = numbers(record, "always_on_tokens");
  point.scores = histograms(record, "score_histogram");
  point.calibration_tokens = integer(record, "calibration_tokens");
  return point;
}

void take(json const& record, RunResult& run) {
  std::string const kind = text(record, "kind");
  if (kind == "run") {
    run.params = integer(record, "params");
    run.params_non_embedding = integer(record, "params_non_embedding");
    run.forward_flops_topk = number(record, "forward_flops_per_token_topk", 0);
    run.epochs = number(record, "epochs", 0);
    run.threads = integer(record, "threads");
    std::string const build = text(record, "build");
    if (!build.empty() && std::find(run.builds.begin(), run.builds.end(), build) == run.builds.end()) run.builds.push_back(build);
    run.status.clear();  // a resumed run has not ended yet
  } else if (kind == "validation") {
    ValidationPoint const point = validation_point(record);
    // The last step is validated twice: on eval.tokens for the curve, and on eval.final_tokens for the result.
    if (record.value("final", false)) run.result = point;
    if (run.curve.empty() || run.curve.back().step < point.step) run.curve.push_back(point);
  } else if (kind == "end") {
    run.status = text(record, "status");
    run.step = integer(record, "step");
    run.tokens = integer(record, "tokens");
    run.train_flops = total(record, "train_flops_total");
    run.time_s = number(record, "time_s", 0);
    run.step_time_s = number(record, "step_time_s_median");
    run.tokens_per_s = number(record, "tokens_per_s");
    run.memory_bytes = integer(record, "memory_bytes");
  }
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

std::vector<Decoding> read_decoding(fs::path const& path) {
  std::vector<Decoding> all;
  json const file = parse_or_null(path);
  if (!file.is_object()) return all;
  for (json const& one : file.value("batches", json::array()))
    all.push_back({integer(one, "batch"), integer(one, "prompt"), number(one, "tokens_per_s"), number(one, "kv_bytes_per_token"),
                   number(one, "blocks_per_token")});
  return all;
}

}  // namespace

RunResult read_run(fs::path const& folder, std::string const& arm) {
  RunResult run;
  run.arm = arm;
  run.folder = folder;
  if (!fs::exists(folder / "metrics.jsonl")) throw Error(ExitCode::data, folder.string() + " is no run folder: it holds no metrics.jsonl");
  if (!fs::exists(folder / "config.yaml")) throw Error(ExitCode::data, folder.string() + " is no run folder: it holds no config.yaml");
  run.config = load_config(folder / "config.yaml", {}).config;

  std::istringstream lines(read_file(folder / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    json const record = json::parse(line, nullptr, false);
    if (record.is_object()) take(record, run);  // a line cut short by a crash is no record
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
  if (process.is_object() && !on_gpu) run.memory_bytes = std::max(run.memory_bytes, integer(process, "peak_memory_bytes"));
  run.depth_text = read_depth_text(folder / "depth_text.json");
  run.decoding = read_decoding(folder / "decode.json");
  if (run.result.step == 0 && !run.curve.empty()) run.result = run.curve.back();  // ended without a final evaluation
  auto const fill = [&](ValidationPoint& point) {
    if (std::isnan(point.loss_causal)) point.loss_causal = point.loss_topk;
    if (std::isnan(point.bits_per_byte_causal)) point.bits_per_byte_causal = point.bits_per_byte_topk;
    if (std::isnan(point.forward_flops_causal)) point.forward_flops_causal = run.forward_flops_topk;
  };
  if (!plan_depth(run.config.model, run.config.depth)->uses_noncausal_routing()) {  // top-k and causal routing are the same
    std::for_each(run.curve.begin(), run.curve.end(), fill);
    fill(run.result);
  }
  return run;
}

}  // namespace isobath
