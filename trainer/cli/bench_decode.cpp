// isobath bench decode: tokens a second out of the cache.

#include "trainer/bench_decode.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/config_io.h"
#include "core/units.h"
#include "nn/device.h"
#include "trainer/cli/commands.h"
#include "trainer/experiment_plan.h"
#include "trainer/machine.h"
#include "trainer/statistics.h"

namespace isobath {

namespace {

void run_bench_decode(Target const& target, DecodeBenchSettings settings, bool json) {
  LoadedConfig const loaded = load_config(target.path, target.overrides);
  settings.vocab_size = planned_vocab_size(loaded.config.tokenizer);
  at::Device const device = open_device(loaded.config.device);
  set_threads(loaded.config.train.threads);
  DecodeBench const bench = bench_decode(bench_arms(loaded, settings.vocab_size), settings);
  auto const batch = static_cast<double>(settings.batch);
  if (json) {
    auto arms = nlohmann::ordered_json::array();
    for (DecodeBenchResult const& r : bench.results)
      arms.push_back({{"name", r.name},
                      {"tokens_per_s", batch / median(r.step_s)},
                      {"step_time_s", r.step_s},
                      {"speedup_median", median(r.speedup)},
                      {"weight_bytes", r.weight_bytes},
                      {"kv_bytes_per_token", r.kv_bytes_per_token},
                      {"kv_reserved_per_token", r.kv_reserved_per_token},
                      {"kv_bytes_per_token_planned", r.planned_kv_bytes_per_token},
                      {"blocks_per_token", r.blocks_per_token}});
    nlohmann::ordered_json const all{{"environment", environment_json(this_machine(ISOBATH_VERSION, device))},
                                     {"batch", settings.batch},
                                     {"prompt", settings.prompt},
                                     {"read_bytes_per_s", bench.read_bytes_per_s},
                                     {"arms", arms}};
    std::printf("%s\n", all.dump(2).c_str());
    return;
  }
  std::printf("%-12s %12s %10s %9s %14s %11s %11s %10s %8s\n", "arm", "step median", "tokens/s", "speedup", "weights GB/s", "KV/token",
              "in blocks", "planned", "blocks");
  for (DecodeBenchResult const& r : bench.results) {
    double const step = median(r.step_s);
    std::printf("%-12s %9.3f ms %10s %8.3fx %14.1f %11s %11s %10s %8.2f\n", r.name.c_str(), 1e3 * step, format_si(batch / step).c_str(),
                median(r.speedup), static_cast<double>(r.weight_bytes) / step / 1e9, format_bytes(r.kv_bytes_per_token).c_str(),
                format_bytes(r.kv_reserved_per_token).c_str(), format_bytes(r.planned_kv_bytes_per_token).c_str(), r.blocks_per_token);
  }
  std::printf("weights: of the whole model, as if each step read all; reading as many bytes alone: %.1f GB/s\n",
              bench.read_bytes_per_s / 1e9);
}

}  // namespace

void add_bench_decode(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("decode",
                           "Text token by token from the key-value cache, for the arms of CONFIG with random weights whose\n"
                           "decisions are calibrated: tokens a second, bytes of keys and values");
  auto const target = add_target(*command, "CONFIG", "experiment file; without a compare section it is measured alone");
  auto const settings = std::make_shared<DecodeBenchSettings>();
  auto const json = std::make_shared<bool>(false);
  command->add_option("--batch", settings->batch, "Texts at a time")->capture_default_str()->check(CLI::Range(1, 65536));
  command->add_option("--prompt", settings->prompt, "Tokens that each text begins with")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 24));
  command->add_option("--steps", settings->steps, "Tokens of each text in a round")->capture_default_str()->check(CLI::Range(1, 1 << 20));
  command->add_option("--repeats", settings->repeats, "Rounds over all arms")->capture_default_str()->check(CLI::Range(1, 100000));
  command->add_flag("--json", *json, "Print JSON");
  command->callback([target, settings, json] { run_bench_decode(*target, *settings, *json); });
}

}  // namespace isobath
