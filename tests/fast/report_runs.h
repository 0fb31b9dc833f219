#pragma once
// Invented run folders of comparisons, for the tests of the report.

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config/io.h"
#include "core/files.h"
#include "format/total.h"
#include "tests/fast/scratch.h"

namespace isobath {

using nlohmann::json;

struct Folder {
  Scratch scratch;
  fs::path const path = scratch.path();
};

struct FakeRun {
  double loss = 3;  // final, causal
  double time_s = 100;
  Int128 train_flops = 1000000000000;
  std::string status = "finished";
  bool routed = false;  // Mixture-of-Depths
  bool nested = false;  // branches of 2 and of all layers
  int64_t layers = 4;
  std::string build = "";         // of the program; empty: not recorded, as in older runs
  double curve_offset = 0;        // how much harder the curve's text is than the result's
  json routing = json::object();  // more keys of the final validation
  json start = json::object();    // more keys of the `run` record
  double lr = 3e-3;
  int trained = 0;  // number of `train` records
  std::string init_from = "";
};

// A run folder as the trainer writes it: four validations on the curve's text, and the last one again on all the text.
inline void write_run(fs::path const& root, std::string const& arm, int64_t seed, FakeRun const& fake) {
  fs::path const folder = root / arm / ("seed-" + std::to_string(seed));
  fs::create_directories(folder);
  Config config;
  config.name = root.filename().string() + "/" + arm + "/seed-" + std::to_string(seed);
  config.seed = seed;
  config.model.layers = fake.layers;
  config.train.lr = fake.lr;
  config.train.init_from = fake.init_from;
  if (fake.routed) config.depth.kind = "mod";
  if (fake.nested) {
    config.depth.kind = "nested";
    config.depth.exits = {2};
    config.depth.mean_depth = 3;
  }
  write_file_atomic(folder / "config.yaml", to_yaml(config));
  std::ofstream metrics(folder / "metrics.jsonl");
  json start = {{"kind", "run"}, {"params", 1000}, {"params_non_embedding", 700}, {"forward_flops_per_token_topk", 5e5},
                {"threads", 2},  {"epochs", 0.5},  {"kv_bytes_per_token", 512}};
  if (!fake.build.empty()) start["build"] = fake.build;
  start.update(fake.start);
  metrics << start << "\n";
  for (int i = 1; i <= fake.trained; ++i)
    metrics << json{{"kind", "train"}, {"step", i},           {"train_flops_total", 1000 * i}, {"train_loss", 5.0 - 0.001 * i},
                    {"lr", 1e-3},      {"grad_norm", nullptr}}
            << "\n";
  auto const validate = [&](int i, bool final) {
    double const loss = fake.loss + 1.0 / i - 0.25 + (final ? 0 : fake.curve_offset);
    json record = {{"kind", "validation"},
                   {"final", final},
                   {"step", 250 * i},
                   {"tokens", 256000 * i},
                   {"train_flops_total", total_json(fake.train_flops / 4 * i)},
                   {"time_s", fake.time_s / 4 * i},
                   {"loss_topk", loss - 0.01},
                   {"loss_causal", loss},
                   {"bits_per_byte_topk", 2.0},
                   {"bits_per_byte_causal", 2.01},
                   {"forward_flops_per_token_causal", 5.05e5}};
    if (fake.routed) {
      record["capacity_causal"] = {0.12, 0.13};
      record["router_precision"] = {0.9, nullptr};
      record["router_recall"] = {0.8, 0.7};
    }
    if (final) record.update(fake.routing);
    metrics << record << "\n";
  };
  for (int i = 1; i <= 4; ++i) validate(i, false);
  validate(4, true);
  metrics << json{{"kind", "end"},
                  {"step", 1000},
                  {"tokens", 1024000},
                  {"train_flops_total", total_json(fake.train_flops)},
                  {"time_s", fake.time_s},
                  {"step_time_s_median", fake.time_s / 1000},
                  {"tokens_per_s", 1024000 / fake.time_s},
                  {"memory_bytes", 1 << 20},
                  {"status", fake.status}}
          << "\n";
  if (fake.routed)
    write_file_atomic(
        folder / "depth_text.json",
        json{{"pieces", {"if (", "a<b", "&& \"c\"", ")\n"}}, {"depth", {2, 3, 4, 2}}, {"layers", 4}, {"loss", {nullptr, 1.5, 2.5, 0.25}}}
            .dump());
}

inline void write_experiment(fs::path const& root, std::vector<std::string> const& arms, std::vector<int64_t> const& seeds,
                             std::string const& baseline) {
  Config config;
  config.name = root.filename().string();
  config.compare.baseline = baseline;
  config.compare.seeds = seeds;
  for (std::string const& arm : arms) config.compare.arms.push_back({arm, {}, {}, {}});
  fs::create_directories(root);
  write_file_atomic(root / "experiment.yaml", to_yaml(config));
}

inline bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

}  // namespace isobath
