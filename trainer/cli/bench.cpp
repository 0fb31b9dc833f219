// isobath bench train: step times of the arms of an experiment, and of a peer, interleaved.

#include <fmt/format.h>
#include <fmt/printf.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "config/io.h"
#include "core/columns.h"
#include "core/error.h"
#include "core/streams.h"
#include "core/units.h"
#include "nn/device.h"
#include "trainer/bench/train.h"
#include "trainer/cli/bench_head.h"
#include "trainer/cli/bench_options.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/options.h"
#include "trainer/compare/arms.h"
#include "trainer/pretrained/experiment_config.h"
#include "trainer/report/statistics.h"

namespace isobath {

namespace {

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

double ideal_speedup(Bench const& bench, BenchResult const& result) {
  return ratio(static_cast<double>(bench.results.front().train_flops_per_step), static_cast<double>(result.train_flops_per_step));
}

double mfu(Bench const& bench, int64_t flops, double step_s) { return static_cast<double>(flops) / step_s / bench.peak.per_s; }

// "8192 tokens a step", with the arms' names where they differ.
std::string batch_text(std::vector<BenchArm> const& arms) {
  int64_t const first = arms.front().config.train.batch_tokens;
  std::string each;
  bool same = true;
  for (BenchArm const& arm : arms) {
    int64_t const tokens = arm.config.train.batch_tokens;
    same = same && tokens == first;
    each += (each.empty() ? "" : ", ") + arm.name + " " + std::to_string(tokens);
  }
  return (same ? std::to_string(first) : each) + " tokens a step";
}

std::vector<std::string> table_row(Bench const& bench, BenchResult const& result) {
  double const step = median(result.step_s), flops = static_cast<double>(result.train_flops_per_step), speedup = median(result.speedup);
  bool const counted = flops > 0;  // a peer's FLOPs are not known
  auto const if_counted = [&](std::string const& text) { return counted ? text : std::string("-"); };
  auto const share = [&](int64_t of) { return if_counted(fmt::format("{:.1f} %", 100 * mfu(bench, of, step))); };
  double const ideal = counted ? ideal_speedup(bench, result) : 1;
  return {result.name,
          fmt::format("{:.1f} ms", 1e3 * step),
          format_si(static_cast<double>(result.tokens_per_step) / step),
          if_counted(fmt::format("{:.4g}", flops / 1e9)),
          if_counted(fmt::format("{:.1f}", flops / step / 1e9)),
          share(result.train_flops_per_step),
          share(result.flops_6n_per_step),
          fmt::format("{:.3f}x", speedup),
          if_counted(fmt::format("{:.3f}x", ideal)),
          if_counted(fmt::format("{:.3f}", speedup / ideal))};
}

void print_table(Bench const& bench, BenchSubject const& subject) {
  bool const alone = bench.results.size() == 1;
  std::string const baseline = bench.results.front().name;
  print_bench_head(subject);
  std::vector<std::vector<std::string>> rows{
      {"arm", "step median", "tokens/s", "GFLOP", "GFLOP/s", "MFU", "MFU 6N", "speedup", "ideal", "realised/ideal"}};
  for (BenchResult const& result : bench.results) rows.push_back(table_row(bench, result));
  for (auto& row : rows)
    if (alone) row.resize(row.size() - 3);  // nothing to compare with
  standard_output() << aligned_columns(rows);
  if (alone) print_alone(subject.arms.front());
  std::vector<ColumnMeaning> meanings{
      {"step median", "time of one training step: forward, backward, optimizer; median of " +
                          std::to_string(bench.results.front().step_s.size()) + " rounds"},
      {"GFLOP", "10^9 floating-point operations of a step; only those of tokens that ran"},
      {"MFU", "GFLOP/s as a share of " + format_si(bench.peak.per_s) + " FLOP/s: " + bench.peak.source},
      {"MFU 6N",
       "as MFU, counted as is usual elsewhere (6 x parameters + 12 x layers x width x context a token): skipped work included, so it can "
       "exceed 100 %"}};
  if (!alone)
    meanings.insert(meanings.end(), {{"speedup", "step time of " + baseline + " over this one's, median of the rounds' ratios"},
                                     {"ideal", "GFLOP of " + baseline + " over this one's: the speedup if all work saved were time saved"},
                                     {"realised/ideal", "speedup over ideal; 1: all work saved is time saved"}});
  print_meanings(meanings);
}

void print_profiles(Bench const& bench) {
  for (BenchResult const& result : bench.results) {
    if (!result.profile) continue;
    Profile const& profile = *result.profile;
    standard_output() << fmt::sprintf("\n%s, one step: %.1f ms, routing %.1f %%\n%10s %7s %8s  %s\n", result.name.c_str(),
                                      1e3 * profile.seconds, 100 * profile.routing_share(), "ms", "calls", "part", "kernel");
    for (size_t i = 0; i < std::min<size_t>(25, profile.entries.size()); ++i) {
      ProfileEntry const& entry = profile.entries[i];
      standard_output() << fmt::sprintf("%10.3f %7lld %8s  %.100s\n", 1e3 * entry.seconds, static_cast<long long>(entry.calls),
                                        entry.part.c_str(), entry.name.c_str());
    }
  }
}

nlohmann::ordered_json to_json(Profile const& profile) {
  auto kernels = nlohmann::ordered_json::array();
  for (ProfileEntry const& entry : profile.entries)
    kernels.push_back({{"name", entry.name}, {"scope", entry.part}, {"seconds", entry.seconds}, {"calls", entry.calls}});
  return {{"seconds", profile.seconds},
          {"routing_share", profile.routing_share()},
          {"unknown_share", profile.seconds > 0 ? profile.unknown_seconds / profile.seconds : 0},
          {"host_waits", profile.host_waits},
          {"kernels", kernels}};
}

nlohmann::ordered_json to_json(Bench const& bench, BenchSubject const& subject) {
  auto arms = nlohmann::ordered_json::array();
  for (BenchResult const& result : bench.results) {
    double const step = median(result.step_s);
    nlohmann::ordered_json item{{"name", result.name},
                                {"step_time_s_median", step},
                                {"step_time_s", result.step_s},
                                {"speedup_median", median(result.speedup)},
                                {"speedup", result.speedup},
                                {"tokens_per_step", result.tokens_per_step},
                                {"tokens_per_s", static_cast<double>(result.tokens_per_step) / step}};
    if (result.peak_memory_bytes > 0) item["peak_memory_bytes"] = result.peak_memory_bytes;
    if (result.train_flops_per_step > 0) {
      item["params"] = result.params;
      item["train_flops_per_step"] = result.train_flops_per_step;
      item["mfu"] = mfu(bench, result.train_flops_per_step, step);
      item["mfu_6n"] = mfu(bench, result.flops_6n_per_step, step);
      item["ideal_speedup"] = ideal_speedup(bench, result);
      item["realised_over_ideal"] = median(result.speedup) / ideal_speedup(bench, result);
    }
    if (result.profile) item["profile"] = to_json(*result.profile);
    arms.push_back(item);
  }
  nlohmann::ordered_json all = bench_head_json(subject);
  all.update({{"peak_flops", bench.peak.per_s}, {"peak_flops_source", bench.peak.source}, {"arms", arms}});
  return all;
}

}  // namespace

void add_peers(CLI::App& command, std::vector<BenchSettings::Peer>& peers, std::string const& script) {
  command
      .add_option_function<std::vector<std::string>>(
          "--peer",
          [&peers](std::vector<std::string> const& texts) {
            for (std::string const& text : texts) {
              size_t const equals = text.find('=');
              if (equals == 0 || equals == std::string::npos || text.substr(0, equals).find_first_of(" /") != std::string::npos)
                throw Error(ExitCode::config, "--peer '" + text + "' is not NAME=COMMAND");
              peers.push_back({text.substr(0, equals), text.substr(equals + 1)});
            }
          },
          "NAME=COMMAND of another implementation, measured in the same rounds (" + script + "); may be given several times")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
}

void add_bench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure speed: medians of interleaved repeats, ratios");
  bench->group("Measure");
  bench->require_subcommand(1);
  add_bench_ops(*bench);
  add_bench_decode(*bench);
  CLI::App* command = bench->add_subcommand("train",
                                            "Training steps of the arms of CONFIG on random tokens; the baseline's time over each arm's,\n"
                                            "beside the ratio of their FLOPs (ideal)");
  auto const target = add_target(*command, "CONFIG", bench_config_help);
  auto const settings = std::make_shared<BenchSettings>();
  auto const json = std::make_shared<bool>(false);
  add_number(*command, &settings->repeats, {.name = "--repeats", .help = "Rounds over all arms", .min = 1, .max = 100000});
  add_number(*command, &settings->steps_per_repeat, {.name = "--steps", .help = "Steps of an arm in a row", .min = 1, .max = 100000});
  add_peers(*command, settings->peers, "scripts/peers/train_step.py");
  command->add_flag("--profile", settings->profile, "Then one step of every arm by kernel, and the share of it that is routing");
  command->add_flag("--json", *json, "Print JSON");
  command->callback([target, settings, json] {
    LoadedConfig const loaded = load_experiment(target->path, target->overrides);
    settings->vocab_size = planned_vocab_size(loaded.config.tokenizer);
    open_device(loaded.config.device);
    set_threads(loaded.config.train.threads);
    keep_freed_memory();
    std::vector<BenchArm> const arms = bench_arms(loaded, settings->vocab_size);
    Bench const bench = bench_training(arms, *settings);
    BenchSubject const subject{arms, settings->vocab_size, batch_text(arms), bench.device, settings->peers};
    if (*json) {
      standard_output() << to_json(bench, subject).dump(2) << "\n";
    } else {
      print_table(bench, subject);
      print_profiles(bench);
    }
  });
}

}  // namespace isobath
