// report.json: the fields of a comparison that other programs, and the page, may rely on (docs/experiments.md).
#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include <cmath>

#include "config/io.h"
#include "core/files.h"
#include "format/total.h"
#include "model/ledger/ledger.h"
#include "trainer/report/report.h"
#include "trainer/report/settings.h"

namespace isobath {
namespace {

using nlohmann::ordered_json;

constexpr size_t most_pieces = 1500;  // of a text whose depth is shown

ordered_json histograms_json(std::vector<ScoreHistogram> const& layers) {
  ordered_json array = ordered_json::array();
  for (ScoreHistogram const& scores : layers)
    array.push_back(scores.empty()
                        ? ordered_json(nullptr)
                        : ordered_json{{"low", scores.low}, {"high", scores.high}, {"tokens", scores.tokens}, {"picked", scores.picked}});
  return array;
}

void add_metrics(ordered_json& object, MetricMap const& metrics) {
  for (Metric const& metric : all_metrics())
    if (metric.in_reports()) object[metric.report_key] = metric_json(metric, metrics.list(metric.report_key));
}

ordered_json point_json(ValidationPoint const& point) {
  ordered_json json = {
      {"step", point.step}, {"tokens", point.tokens}, {"train_flops_total", total_json(point.train_flops)}, {"time_s", point.time_s}};
  for (Metric const& metric : all_metrics())
    if (std::holds_alternative<Read<ValidationReading>>(metric.source) && metric.each == Each::run && metric.group == Group::quality)
      json[metric.report_key] = metric_json(metric, point.metrics[metric.report_key]);
  return json;
}

ordered_json depth_text_json(DepthText const& text) {
  if (text.empty()) return nullptr;
  ordered_json pieces = ordered_json::array();
  for (size_t i = 0; i < std::min(most_pieces, text.pieces.size()); ++i)
    pieces.push_back({text.pieces[i], text.depth[i], finite_or_null(text.loss[i])});
  return {{"layers", text.layers}, {"pieces", std::move(pieces)}};
}

// Four digits draw a curve.
ordered_json rounded(double value) { return std::isfinite(value) ? ordered_json(std::stod(fmt::format("{:.4g}", value))) : nullptr; }

// Column by column.
ordered_json training_json(std::vector<TrainingPoint> const& training) {
  ordered_json json = {{"step", ordered_json::array()}, {"train_flops_total", ordered_json::array()}};
  auto const curves = training_curves();
  for (TrainingPoint const& point : training) {
    json["step"].push_back(point.step);
    json["train_flops_total"].push_back(rounded(point.train_flops));
    for (size_t i = 0; i < curves.size(); ++i) json[curves[i]->report_key].push_back(rounded(point.values[i]));
  }
  return json;
}

ordered_json curve_json(RunResult const& run) {
  ordered_json curve = ordered_json::array();
  for (ValidationPoint const& point : run.curve) curve.push_back(point_json(point));
  return curve;
}

// The run's folder as seen from the report's; as it was given where there is no way between them.
std::string link_to(fs::path const& run, fs::path const& folder) {
  std::error_code error;
  fs::path const relative = fs::relative(run, folder, error);
  return (error || relative.empty() ? run : relative).generic_string();
}

// shows_text: with the texts that the page shows, of one run of an arm.
ordered_json run_json(RunResult const& run, fs::path const& folder, bool shows_text) {
  ordered_json json = {{"seed", run.config.seed}, {"folder", run.folder.string()}, {"link", link_to(run.folder, folder)},
                       {"command", run.command},  {"builds", run.builds},          {"train_flops", total_json(run.train_flops)}};
  add_metrics(json, run.metrics);
  json["train_flops"] = total_json(run.train_flops);  // exact
  json["score_histogram"] = histograms_json(run.scores);
  if (shows_text) {
    if (!run.depth_text.empty()) json["depth_text"] = depth_text_json(run.depth_text);
    if (!run.depth_analysis.empty()) json["depth_analysis"] = ordered_json::parse(run.depth_analysis);
    if (!run.sample.empty()) json["sample"] = run.sample;
  }
  json["curve"] = curve_json(run);
  json["training"] = training_json(run.training);
  json["task_curves"] = task_curves_json(run);
  return json;
}

ordered_json unfinished_json(RunResult const& run, fs::path const& folder) {
  auto const last = [&](char const* metric) { return finite_or_null(run.curve.empty() ? NAN : run.curve.back().metrics[metric]); };
  return {{"arm", run.arm},
          {"seed", run.config.seed},
          {"folder", run.folder.string()},
          {"link", link_to(run.folder, folder)},
          {"kind", run.config.depth.kind},
          {"description", describe_model(run.config)},
          {"routed_layers", plan_depth(run.config.model, run.config.depth)->routed_layers()},
          {"state", run.state()},
          {"step", run.step},
          {"steps_planned", finite_or_null(run.metrics["steps_planned"])},
          {"train_loss", finite_or_null(run.training.empty() ? NAN : run.training.back().values.front())},
          {"loss_causal", last("loss_causal")},
          {"curve", curve_json(run)},
          {"training", training_json(run.training)},
          {"task_curves", task_curves_json(run)}};
}

ordered_json decoding_json(std::vector<Decoding> const& decoding) {
  ordered_json all = ordered_json::array();
  for (Decoding const& one : decoding) {
    all.push_back({{"batch", one.batch}, {"prompt", one.prompt}});
    all.back().update(metrics_json(one));
  }
  return all;
}

// One metric of an arm over its seeds.
ordered_json over_seeds_json(ArmResult const& arm, Metric const& metric) {
  if (metric.over_seeds == OverSeeds::median) return {{"median", metric_json(metric, arm[metric.report_key])}};
  if (metric.over_seeds != OverSeeds::spread) return metric_json(metric, arm[metric.report_key]);
  Spread const s = arm.spread(metric.report_key);
  return {{"mean", finite_or_null(s.mean)}, {"std", s.n < 2 ? ordered_json(nullptr) : finite_or_null(s.std)}};
}

ordered_json arm_json(ArmResult const& arm, fs::path const& folder) {
  ordered_json seeds = ordered_json::array(), runs = ordered_json::array(), by_layer = ordered_json::object();
  for (RunResult const& run : arm.runs) {
    seeds.push_back(run.config.seed);
    runs.push_back(run_json(run, folder, &run == &arm.runs.front()));
  }
  auto const plan = arm.plan();
  ordered_json json = {{"name", arm.name},
                       {"kind", arm.config().depth.kind},
                       {"description", describe_model(arm.config())},
                       {"routing", plan->describe()},
                       {"routing_explained", plan->explain_shares()},
                       {"seeds", std::move(seeds)},
                       {"routed_layers", plan->routed_layers()}};
  for (Metric const& metric : all_metrics()) {
    if (!metric.in_reports() || metric.each == Each::branch || metric.each == Each::bound) continue;
    json[metric.report_key] = over_seeds_json(arm, metric);
    if (metric.each != Each::routed_layer) continue;
    if (auto const means = arm.by_layer(metric.report_key); !means.empty()) by_layer[metric.report_key] = metric_json(metric, means);
  }
  json["train_flops"] = total_json(arm.train_flops);  // exact
  json["by_layer"] = std::move(by_layer);
  json["decoding"] = decoding_json(arm.decoding);
  json["runs"] = std::move(runs);
  return json;
}

ordered_json equivalence_json(Pair const& pair) {
  if (!pair.equivalence) return nullptr;
  Equivalence const& e = *pair.equivalence;
  return {{"margin_percent", e.margin_percent},
          {"verdict", name_of(e.decision)},
          {"p", e.p},
          {"seeds_needed", e.seeds_needed ? ordered_json(*e.seeds_needed) : ordered_json(nullptr)}};
}

ordered_json pair_json(Pair const& pair) {
  PairedDifference const& d = pair.difference;
  ordered_json interval = nullptr;
  if (d.half_width) interval = {d.percent - *d.half_width, d.percent + *d.half_width};
  return {{"arm", pair.arm},
          {"baseline", pair.baseline},
          {"basis", pair.basis},
          {"cost", pair.cost.empty() ? ordered_json(nullptr) : ordered_json(pair.cost)},
          {"metric", pair.metric},
          {"delta_percent", d.n > 0 ? finite_or_null(d.percent) : ordered_json(nullptr)},
          {"ci95", interval},
          {"n_seeds", d.n},
          {"arm_loss", finite_or_null(pair.arm_loss)},
          {"baseline_loss", finite_or_null(pair.baseline_loss)},
          {"significant", d.significant()},
          {"p", finite_or_null(pair.p)},
          {"p_holm", finite_or_null(pair.p_holm)},
          {"tests", pair.tests},
          {"equivalence", equivalence_json(pair)},
          {"verdict", pair.verdict},
          {"hint", pair.hint},
          {"note", pair.note}};
}

// The text and the batches that all arms share, in words.
ordered_json setup_json(RunResult const& run) {
  Config const& config = run.config;
  TokenizerConfig const& tokenizer = config.tokenizer;
  return {{"sources", config.data.sources},
          {"tokenizer", tokenizer.is_trained() ? fmt::format("BPE, {} pieces", tokenizer.vocab_size) : tokenizer.kind},
          {"batch_tokens", config.train.batch_tokens},
          {"width", config.model.width},
          {"context", config.model.context},
          {"curve_tokens", finite_or_null(run.curve.empty() ? NAN : run.curve.back().metrics["eval_tokens"])},
          {"result_tokens", finite_or_null(run.metrics["eval_tokens"])}};
}

ordered_json registered_json(std::optional<Registered> const& registered) {
  if (!registered) return nullptr;
  ordered_json arms = ordered_json::array(), settings = ordered_json::array();
  if (registered->experiment) {
    for (ArmConfig const& arm : registered->experiment->compare.arms) arms.push_back({{"name", arm.name}, {"text", arm_text(arm)}});
    for (auto const& [key, value] : registered->settings) settings.push_back({{"key", key}, {"value", value}});
  }
  return {{"time", registered->time},       {"revision", registered->revision}, {"yaml", registered->yaml},
          {"changes", registered->changes}, {"arms", std::move(arms)},          {"settings", std::move(settings)}};
}

ordered_json tuning_with_share(Report const& report) {
  if (!report.tuning) return nullptr;
  ordered_json json = tuning_json(*report.tuning);
  json["share_of_train_flops"] = report.tuning_share;
  return json;
}

}  // namespace

ordered_json report_json(Report const& report, fs::path const& folder) {
  ordered_json arms = ordered_json::array(), pairs = ordered_json::array(), environment = ordered_json::object(), setup = nullptr,
               unfinished = ordered_json::array(), settings = ordered_json::array();
  for (ArmResult const& arm : report.arms) arms.push_back(arm_json(arm, folder));
  for (RunResult const& run : report.unfinished) unfinished.push_back(unfinished_json(run, folder));
  for (ArmSetting const& setting : arm_settings(report)) settings.push_back({{"key", setting.key}, {"values", setting.values}});
  for (Pair const& pair : report.pairs) pairs.push_back(pair_json(pair));
  RunResult const* const first = !report.arms.empty()         ? &report.arms.front().runs.front()
                                 : !report.unfinished.empty() ? &report.unfinished.front()
                                                              : nullptr;
  if (first) {
    environment = first->environment;
    setup = setup_json(*first);
  }
  return {{"format", 1},
          {"name", report.name},
          {"command", report.command},
          {"environment", std::move(environment)},
          {"setup", std::move(setup)},
          {"headline", report.headline},
          {"best_dense", report.best_dense},
          {"challenger", report.challenger},
          {"baseline", report.experiment.compare.baseline_arm()},
          {"ranked_by", report.ranked_by.empty() ? ordered_json(nullptr) : ordered_json(report.ranked_by)},
          {"running", report.running},
          {"reload_s", report.reload_s},
          {"order", report.order},
          {"registered", registered_json(report.registered)},
          {"budget", report.budget.empty() ? ordered_json(nullptr) : ordered_json(report.budget)},
          {"sweep", sweep_json(report.sweep)},
          {"scaling", scaling_json(report.scaling)},
          {"tuning", tuning_with_share(report)},
          {"arms", std::move(arms)},
          {"pairs", std::move(pairs)},
          {"frontiers", frontiers_json(report)},
          {"tasks", tasks_json(report)},
          {"warnings", report.warnings},
          {"incomplete", report.incomplete},
          {"unfinished", std::move(unfinished)},
          {"settings", std::move(settings)},
          {"metrics", metrics_description()}};
}

fs::path write_report(Report const& report, fs::path const& folder) {
  fs::create_directories(folder);
  // Folder names may hold any bytes; JSON may not.
  write_file_atomic(folder / "report.json",
                    report_json(report, folder).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  write_file_atomic(folder / "report.html", report_html(report, folder));
  return folder / "report.html";
}

}  // namespace isobath
