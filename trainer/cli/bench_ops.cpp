// isobath bench ops: correctness and speed of the row kernels.

#include "trainer/bench/ops.h"

#include <fmt/printf.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "config/io.h"
#include "core/error.h"
#include "core/streams.h"
#include "nn/device.h"
#include "trainer/cli/bench_head.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/options.h"
#include "trainer/compare/arms.h"
#include "trainer/run/machine.h"
#include "trainer/train/learner.h"

namespace isobath {

namespace {

nlohmann::ordered_json to_json(std::vector<OpResult> const& results, BenchSubject const& subject, int64_t rows) {
  auto kernels = nlohmann::ordered_json::array();
  for (OpResult const& r : results) {
    kernels.push_back({{"name", r.name},
                       {"ok", r.ok()},
                       {"difference", r.difference},
                       {"allowed", r.allowed},
                       {"aten_difference", r.aten_difference},
                       {"seconds", r.seconds},
                       {"aten_seconds", r.aten_seconds}});
  }
  nlohmann::ordered_json all = bench_head_json(subject);
  all.update({{"rows", rows}, {"kernels", kernels}});
  return all;
}

void print_table(std::vector<OpResult> const& results, BenchSubject const& subject, int64_t repeats) {
  print_bench_head(subject);
  standard_output() << fmt::sprintf("%-26s %10s %10s %10s %10s %10s %8s\n", "kernel", "error", "allowed", "ATen's", "us", "ATen us",
                                    "speedup");
  for (OpResult const& r : results) {
    standard_output() << fmt::sprintf("%-26s %10.1e %10.0e %10.1e %10.1f %10.1f %7.2fx%s\n", r.name.c_str(), r.difference, r.allowed,
                                      r.aten_difference, 1e6 * r.seconds, 1e6 * r.aten_seconds, r.aten_seconds / r.seconds,
                                      r.ok() ? "" : "  WRONG");
  }
  print_meanings({{"error", "largest difference from ATen's (LibTorch's) operators in double, as a share of the largest value"},
                  {"allowed", "the largest error that passes; above it the kernel is WRONG"},
                  {"ATen's", "the error of ATen's own operators in " + subject.arms.front().config.precision.name()},
                  {"us", "microseconds a call; median of " + std::to_string(repeats) + " rounds"},
                  {"ATen us", "the same of ATen's operators"},
                  {"speedup", "ATen us over us"}});
}

void run_ops(Target const& target, int64_t repeats, bool json) {
  LoadedConfig const loaded = load_config(target.path, target.overrides);
  at::Device const device = open_device(loaded.config.device);
  set_threads(loaded.config.train.threads);
  int64_t const vocab_size = planned_vocab_size(loaded.config.tokenizer), T = loaded.config.model.context,
                sequences = micro_batch_sequences(loaded.config, device.is_cuda());
  std::string const batch = std::to_string(sequences * T) + " rows: a micro-batch of " + std::to_string(sequences) +
                            " sequences, each with " + std::to_string(rows_of_capacity(loaded.config.depth.capacity.front(), T)) +
                            " routed rows";
  std::vector<OpResult> const results = bench_ops(loaded.config, vocab_size, repeats);
  BenchSubject const subject{{{loaded.config.name, loaded.config}}, vocab_size, batch, device, {}};
  if (json)
    standard_output() << to_json(results, subject, sequences * T).dump(2) << "\n";
  else
    print_table(results, subject, repeats);
  std::string wrong;
  for (OpResult const& r : results)
    if (!r.ok()) wrong += (wrong.empty() ? "" : ", ") + r.name;
  if (!wrong.empty()) throw Error(ExitCode::other, "not what ATen's operators give in double: " + wrong);
}

}  // namespace

void add_bench_ops(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("ops",
                           "Row kernels of CONFIG's device and precision, in its model's shapes: error against ATen's operators\n"
                           "in double, and time against ATen's. Exit code 1 when one is wrong");
  auto const target = add_target(*command, "CONFIG", "its model, device, precision and micro-batch count");
  auto const repeats = std::make_shared<int64_t>(7);
  auto const json = std::make_shared<bool>(false);
  add_number(*command, repeats.get(), {.name = "--repeats", .help = "Rounds over each kernel", .min = 1, .max = 100000});
  command->add_flag("--json", *json, "Print JSON");
  command->callback([target, repeats, json] { run_ops(*target, *repeats, *json); });
}

}  // namespace isobath
