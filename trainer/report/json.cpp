// report.json: the fields of a comparison that other programs may rely on (docs/experiments.md).
#include <nlohmann/json.hpp>

#include <cmath>

#include "core/files.h"
#include "format/total.h"
#include "model/ledger/ledger.h"
#include "trainer/report/report.h"
#include "trainer/report/routing.h"

namespace isobath {
namespace {

using nlohmann::ordered_json;

ordered_json finite(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); }

ordered_json spread_json(Spread const& s) { return {{"mean", finite(s.mean)}, {"std", s.n < 2 ? ordered_json(nullptr) : finite(s.std)}}; }

ordered_json list(std::vector<double> const& values) {
  ordered_json array = ordered_json::array();
  for (double value : values) array.push_back(finite(value));
  return array;
}

ordered_json histograms_json(std::vector<ScoreHistogram> const& layers) {
  ordered_json array = ordered_json::array();
  for (ScoreHistogram const& scores : layers)
    array.push_back(scores.empty()
                        ? ordered_json(nullptr)
                        : ordered_json{{"low", scores.low}, {"high", scores.high}, {"tokens", scores.tokens}, {"picked", scores.picked}});
  return array;
}

ordered_json point_json(ValidationPoint const& p) {
  return {{"step", p.step},
          {"tokens", p.tokens},
          {"train_flops_total", total_json(p.train_flops)},
          {"time_s", p.time_s},
          {"loss_topk", finite(p.loss_topk)},
          {"loss_causal", finite(p.loss_causal)},
          {"bits_per_byte_topk", finite(p.bits_per_byte_topk)},
          {"bits_per_byte_causal", finite(p.bits_per_byte_causal)}};
}

ordered_json run_json(RunResult const& run) {
  ordered_json curve = ordered_json::array();
  for (ValidationPoint const& point : run.curve) curve.push_back(point_json(point));
  ValidationPoint const& last = run.result;
  return {{"seed", run.config.seed},
          {"builds", run.builds},
          {"steps", run.step},
          {"train_flops", total_json(run.train_flops)},
          {"time_s", run.time_s},
          {"step_time_s", finite(run.step_time_s)},
          {"peak_memory_bytes", run.memory_bytes},
          {"loss_topk", finite(last.loss_topk)},
          {"loss_causal", finite(last.loss_causal)},
          {"mean_depth", finite(last.mean_depth)},
          {"oracle_loss_same_depth", finite(last.oracle_loss)},
          {"capacity_causal", list(last.capacity)},
          {"router_precision", list(last.precision)},
          {"router_recall", list(last.recall)},
          {"router_f1", list(last.f1)},
          {"router_f1_ceiling", list(last.f1_ceiling)},
          {"choice_entropy_token", list(last.token_entropy)},
          {"choice_entropy_position", list(last.position_entropy)},
          {"dead_tokens", list(last.dead_tokens)},
          {"always_on_tokens", list(last.always_on_tokens)},
          {"score_histogram", histograms_json(last.scores)},
          {"calibration_tokens", last.calibration_tokens},
          {"curve", std::move(curve)}};
}

ordered_json decoding_json(std::vector<Decoding> const& decoding) {
  ordered_json all = ordered_json::array();
  for (Decoding const& one : decoding)
    all.push_back({{"batch", one.batch},
                   {"prompt", one.prompt},
                   {"tokens_per_s", finite(one.tokens_per_s)},
                   {"kv_bytes_per_token", finite(one.kv_bytes_per_token)},
                   {"blocks_per_token", finite(one.blocks_per_token)}});
  return all;
}

ordered_json arm_json(ArmResult const& arm) {
  RunResult const& first = arm.runs.front();
  ordered_json seeds = ordered_json::array(), runs = ordered_json::array();
  for (RunResult const& run : arm.runs) {
    seeds.push_back(run.config.seed);
    runs.push_back(run_json(run));
  }
  return {{"name", arm.name},
          {"kind", arm.config().depth.kind},
          {"seeds", std::move(seeds)},
          {"layers", arm.config().model.layers},
          {"mlp_width", resolved_mlp_width(arm.config().model)},
          {"routed_layers", routed_layers(arm.config().model, arm.config().depth)},
          {"params", first.params},
          {"params_non_embedding", first.params_non_embedding},
          {"forward_flops_per_token_topk", first.forward_flops_topk},
          {"forward_flops_per_token_causal", finite(arm.forward_flops_causal)},
          {"train_flops", total_json(arm.train_flops)},
          {"tokens", arm.tokens},
          {"epochs", arm.epochs},
          {"loss_topk", spread_json(arm.loss_topk)},
          {"loss_causal", spread_json(arm.loss_causal)},
          {"causal_gap_percent", finite(causal_gap_percent(arm))},
          {"mean_depth", finite(mean_depth(arm))},
          {"oracle_loss_same_depth", finite(oracle_loss(arm))},
          {"capacity_causal", finite(routing_mean(arm, &ValidationPoint::capacity))},
          {"router_f1", finite(routing_mean(arm, &ValidationPoint::f1))},
          {"router_f1_ceiling", finite(routing_mean(arm, &ValidationPoint::f1_ceiling))},
          {"bits_per_byte_topk", spread_json(arm.bits_per_byte_topk)},
          {"bits_per_byte_causal", spread_json(arm.bits_per_byte_causal)},
          {"step_time_s", {{"median", finite(arm.step_time_s)}}},
          {"tokens_per_s", finite(arm.tokens_per_s)},
          {"time_s", arm.time_s},
          {"peak_memory_bytes", arm.peak_memory_bytes},
          {"kv_bytes_per_token", arm.kv_bytes_per_token},
          {"decoding", decoding_json(arm.decoding)},
          {"runs", std::move(runs)}};
}

ordered_json pair_json(Pair const& pair) {
  PairedDifference const& d = pair.difference;
  ordered_json interval = nullptr;
  if (d.half_width) interval = {d.percent - *d.half_width, d.percent + *d.half_width};
  return {{"arm", pair.arm},         {"baseline", pair.baseline},
          {"basis", pair.basis},     {"delta_percent", d.n > 0 ? finite(d.percent) : ordered_json(nullptr)},
          {"ci95", interval},        {"n_seeds", d.n},
          {"verdict", pair.verdict}, {"note", pair.note}};
}

}  // namespace

ordered_json report_json(Report const& report) {
  ordered_json arms = ordered_json::array(), pairs = ordered_json::array();
  for (ArmResult const& arm : report.arms) arms.push_back(arm_json(arm));
  for (Pair const& pair : report.pairs) pairs.push_back(pair_json(pair));
  ordered_json environment = ordered_json::object();
  if (!report.arms.empty()) environment = report.arms.front().runs.front().environment;
  return {{"format", 1},
          {"name", report.name},
          {"command", report.command},
          {"environment", std::move(environment)},
          {"headline", report.headline},
          {"best_dense", report.best_dense},
          {"challenger", report.challenger},
          {"baseline", report.experiment.compare.baseline},
          {"arms", std::move(arms)},
          {"pairs", std::move(pairs)},
          {"warnings", report.warnings},
          {"incomplete", report.incomplete}};
}

fs::path write_report(Report const& report, fs::path const& folder) {
  fs::create_directories(folder);
  // Folder names may hold any bytes; JSON may not.
  write_file_atomic(folder / "report.json", report_json(report).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  write_file_atomic(folder / "report.html", report_html(report));
  return folder / "report.html";
}

}  // namespace isobath
