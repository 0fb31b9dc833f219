// isobath bench train: step times of the arms of an experiment, and of a peer, interleaved.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/config_io.h"
#include "core/error.h"
#include "model/match.h"
#include "model/plan.h"
#include "trainer/bench.h"
#include "trainer/cli/commands.h"
#include "trainer/experiment_plan.h"
#include "trainer/machine.h"
#include "trainer/statistics.h"

namespace isobath {

namespace {

// The arms of the experiment, matched as `compare` matches them; the baseline first.
std::vector<BenchArm> bench_arms(LoadedConfig const& loaded, int64_t vocab_size) {
  CompareConfig const& compare = loaded.config.compare;
  if (compare.arms.empty()) return {{loaded.config.name, loaded.config}};
  auto const resolve = [&](std::string const& name) { return arm_config(loaded, name, compare.seeds.front()).config; };
  std::vector<BenchArm> arms;
  for (ArmConfig const& arm : compare.arms) {
    BenchArm bench{arm.name, resolve(arm.name)};
    if (!arm.match.forward_flops_of.empty()) {
      Config const target = resolve(arm.match.forward_flops_of);
      int64_t const flops = planned_forward_flops(target.model, target.depth, vocab_size, 1, target.model.context);
      bench.config.model = match_forward_flops(bench.config.model, bench.config.depth, vocab_size, flops, arm.match);
    }
    arms.insert(arm.name == compare.baseline ? arms.begin() : arms.end(), bench);
  }
  return arms;
}

void print_table(std::vector<BenchResult> const& results) {
  std::printf("%-12s %12s %10s %12s %10s %10s %15s\n", "arm", "step median", "GFLOP", "GFLOP/s", "speedup", "ideal", "realised/ideal");
  for (BenchResult const& result : results) {
    double const step = median(result.step_s), flops = static_cast<double>(result.train_flops_per_step), speedup = median(result.speedup);
    std::printf("%-12s %9.1f ms ", result.name.c_str(), 1e3 * step);
    if (flops > 0) {
      double const ideal = static_cast<double>(results.front().train_flops_per_step) / flops;
      std::printf("%10.1f %12.1f %9.3fx %9.3fx %15.3f\n", flops / 1e9, flops / step / 1e9, speedup, ideal, speedup / ideal);
    } else {
      std::printf("%10s %12s %9.3fx\n", "-", "-", speedup);
    }
  }
}

nlohmann::ordered_json to_json(std::vector<BenchResult> const& results) {
  auto json = nlohmann::ordered_json::array();
  for (BenchResult const& result : results) {
    double const ideal = result.train_flops_per_step
                             ? static_cast<double>(results.front().train_flops_per_step) / static_cast<double>(result.train_flops_per_step)
                             : 0;
    nlohmann::ordered_json item{{"name", result.name},
                                {"step_time_s_median", median(result.step_s)},
                                {"step_time_s", result.step_s},
                                {"speedup_median", median(result.speedup)},
                                {"speedup", result.speedup}};
    if (ideal > 0) {
      item["train_flops_per_step"] = result.train_flops_per_step;
      item["ideal_speedup"] = ideal;
      item["realised_over_ideal"] = median(result.speedup) / ideal;
    }
    json.push_back(item);
  }
  return json;
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure speed: medians of interleaved repeats, ratios");
  bench->group("Measure");
  bench->require_subcommand(1);
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
  command->add_option("--peer", settings->peer,
                      "Command of another implementation, measured in the same rounds (scripts/peers/train_step.py)");
  command->add_flag("--json", *json, "Print JSON");
  command->callback([target, settings, json] {
    LoadedConfig const loaded = load_config(target->path, target->overrides);
    settings->vocab_size = planned_vocab_size(loaded.config.tokenizer);
    set_threads(loaded.config.train.threads);
    keep_freed_memory();
    std::vector<BenchResult> const results = bench_training(bench_arms(loaded, settings->vocab_size), *settings);
    if (*json) {
      std::printf("%s\n", to_json(results).dump(2).c_str());
    } else {
      print_table(results);
    }
  });
}

}  // namespace isobath
