// isobath bench train: step times of the arms of an experiment, and of a peer, interleaved.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "config/io.h"
#include "core/error.h"
#include "core/units.h"
#include "nn/device.h"
#include "trainer/bench/train.h"
#include "trainer/cli/bench_options.h"
#include "trainer/cli/commands.h"
#include "trainer/compare/arms.h"
#include "trainer/report/statistics.h"
#include "trainer/run/machine.h"

namespace isobath {

namespace {

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

double ideal_speedup(Bench const& bench, BenchResult const& result) {
  return ratio(static_cast<double>(bench.results.front().train_flops_per_step), static_cast<double>(result.train_flops_per_step));
}

double mfu(Bench const& bench, int64_t flops, double step_s) { return static_cast<double>(flops) / step_s / bench.peak.per_s; }

void print_table(Bench const& bench) {
  std::printf("%-12s %12s %10s %10s %12s %7s %7s %10s %10s %15s\n", "arm", "step median", "tokens/s", "GFLOP", "GFLOP/s", "MFU", "MFU 6N",
              "speedup", "ideal", "realised/ideal");
  for (BenchResult const& result : bench.results) {
    double const step = median(result.step_s), flops = static_cast<double>(result.train_flops_per_step), speedup = median(result.speedup);
    std::printf("%-12s %9.1f ms %10s ", result.name.c_str(), 1e3 * step,
                format_si(static_cast<double>(result.tokens_per_step) / step).c_str());
    if (flops > 0) {
      double const ideal = ideal_speedup(bench, result);
      std::printf("%10.1f %12.1f %5.1f %% %5.1f %% %9.3fx %9.3fx %15.3f\n", flops / 1e9, flops / step / 1e9,
                  100 * mfu(bench, result.train_flops_per_step, step), 100 * mfu(bench, result.flops_6n_per_step, step), speedup, ideal,
                  speedup / ideal);
    } else {
      std::printf("%10s %12s %7s %7s %9.3fx\n", "-", "-", "-", "-", speedup);
    }
  }
  std::printf("MFU: share of %s FLOP/s, %s\n", format_si(bench.peak.per_s).c_str(), bench.peak.source.c_str());
  for (BenchResult const& result : bench.results) {
    if (!result.profile) continue;
    Profile const& profile = *result.profile;
    std::printf("\n%s, one step: %.1f ms, routing %.1f %%\n%10s %7s %8s  %s\n", result.name.c_str(), 1e3 * profile.seconds,
                100 * profile.routing_share(), "ms", "calls", "part", "kernel");
    for (size_t i = 0; i < std::min<size_t>(25, profile.entries.size()); ++i) {
      ProfileEntry const& entry = profile.entries[i];
      std::printf("%10.3f %7lld %8s  %.100s\n", 1e3 * entry.seconds, static_cast<long long>(entry.calls), entry.part.c_str(),
                  entry.name.c_str());
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

nlohmann::ordered_json to_json(Bench const& bench, std::string const& precision) {
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
  Machine const machine = this_machine(ISOBATH_VERSION, bench.device);
  return {{"environment", environment_json(machine)},
          {"device", machine.device},
          {"precision", precision},
          {"peak_flops", bench.peak.per_s},
          {"peak_flops_source", bench.peak.source},
          {"arms", arms}};
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
  auto const target = add_target(*command, "CONFIG", "experiment file; without a compare section it is measured alone");
  auto const settings = std::make_shared<BenchSettings>();
  auto const json = std::make_shared<bool>(false);
  command->add_option("--repeats", settings->repeats, "Rounds over all arms")->capture_default_str()->check(CLI::Range(1, 100000));
  command->add_option("--steps", settings->steps_per_repeat, "Steps of an arm in a row")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  add_peers(*command, settings->peers, "scripts/peers/train_step.py");
  command->add_flag("--profile", settings->profile, "Then one step of every arm by kernel, and the share of it that is routing");
  command->add_flag("--json", *json, "Print JSON");
  command->callback([target, settings, json] {
    LoadedConfig const loaded = load_config(target->path, target->overrides);
    settings->vocab_size = planned_vocab_size(loaded.config.tokenizer);
    open_device(loaded.config.device);
    set_threads(loaded.config.train.threads);
    keep_freed_memory();
    Bench const bench = bench_training(bench_arms(loaded, settings->vocab_size), *settings);
    if (*json) {
      std::printf("%s\n", to_json(bench, loaded.config.precision.name()).dump(2).c_str());
    } else {
      print_table(bench);
    }
  });
}

}  // namespace isobath
