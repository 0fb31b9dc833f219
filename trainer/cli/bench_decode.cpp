// isobath bench decode: decoding speed with the key-value cache.

#include "trainer/bench/decode.h"

#include <fmt/format.h>
#include <fmt/printf.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "config/io.h"
#include "core/streams.h"
#include "core/units.h"
#include "nn/device.h"
#include "trainer/bench/stored_arm.h"
#include "trainer/cli/bench_head.h"
#include "trainer/cli/bench_options.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/on_ranks.h"
#include "trainer/cli/options.h"
#include "trainer/compare/arms.h"
#include "trainer/pretrained/experiment_config.h"
#include "trainer/report/statistics.h"
#include "trainer/run/machine.h"

namespace isobath {

namespace {

// "2 texts at a time, prompts of 16 or 40 tokens, then 8 tokens one by one"
std::string batch_text(DecodeBenchSettings const& settings) {
  std::string prompts;
  for (int64_t const prompt : settings.prompts) prompts += (prompts.empty() ? "" : " or ") + std::to_string(prompt);
  return std::to_string(settings.batch) + (settings.batch == 1 ? " text" : " texts") + " at a time, prompts of " + prompts +
         " tokens, then " + std::to_string(settings.steps) + " tokens one by one";
}

bool is_peer(DecodeBenchResult const& result) { return result.prompt_s.empty(); }

// Time and FLOPs at one prompt length, relative to the same arm's first prompt length.
struct Growth {
  double step_time, step_flops, prompt_time, prompt_flops;  // prompt_*: per token of the prompt
};
Growth growth(DecodeBenchResult const& from, DecodeBenchResult const& to) {
  auto const per_token = [](DecodeBenchResult const& r, double of_prompt) { return of_prompt / static_cast<double>(r.prompt); };
  return {median(to.step_s) / median(from.step_s), to.flops_per_token / from.flops_per_token,
          per_token(to, median(to.prompt_s)) / per_token(from, median(from.prompt_s)),
          per_token(to, to.prompt_flops) / per_token(from, from.prompt_flops)};
}

DecodeBenchResult const& shortest(DecodeBench const& bench, std::string const& arm) {
  return *std::find_if(bench.results.begin(), bench.results.end(), [&](DecodeBenchResult const& r) { return r.name == arm; });
}

// The models that are measured. load_s: how long loading their weights took; nothing where they are random.
struct DecodeSubject {
  BenchSubject head;
  std::vector<DecodeArm> arms;
  std::optional<double> load_s;
};

void print_json(DecodeBench const& bench, DecodeBenchSettings const& settings, DecodeSubject const& subject) {
  auto const batch = static_cast<double>(settings.batch);
  auto arms = nlohmann::ordered_json::array();
  for (DecodeBenchResult const& r : bench.results) {
    nlohmann::ordered_json item{{"name", r.name},
                                {"prompt", r.prompt},
                                {"tokens_per_s", batch / median(r.step_s)},
                                {"step_time_s", r.step_s},
                                {"speedup_median", median(r.speedup)}};
    if (is_peer(r)) {
      if (r.load_s > 0) item["load_s"] = r.load_s;
      if (r.peak_memory_bytes > 0) item["peak_memory_bytes"] = r.peak_memory_bytes;
    } else {
      item.update({{"prompt_time_s", r.prompt_s},
                   {"prompt_tokens_per_s", static_cast<double>(r.prompt) / median(r.prompt_s)},
                   {"flops_per_token", r.flops_per_token},
                   {"prompt_flops", r.prompt_flops},
                   {"weight_bytes", r.weight_bytes},
                   {"kv_bytes_per_token", r.kv_bytes_per_token},
                   {"kv_reserved_per_token", r.kv_reserved_per_token},
                   {"kv_bytes_per_token_at_realised_capacity", r.kv_predicted_per_token},
                   {"kv_bytes_per_token_planned", r.kv_planned_per_token},
                   {"blocks_per_token", r.blocks_per_token}});
      Growth const g = growth(shortest(bench, r.name), r);
      item["growth"] = {{"step_time", g.step_time},
                        {"step_flops", g.step_flops},
                        {"prompt_token_time", g.prompt_time},
                        {"prompt_token_flops", g.prompt_flops}};
    }
    arms.push_back(item);
  }
  nlohmann::ordered_json all = bench_head_json(subject.head);
  all["weights"] = subject.head.weights;
  if (subject.load_s) all["load_s"] = *subject.load_s;
  all.update({{"batch", settings.batch},
              {"steps", settings.steps},
              {"read_bytes_per_s", bench.read_bytes_per_s},
              {"peak_memory_bytes_warm", bench.peak_bytes_warm},
              {"resident_bytes", {bench.resident_bytes_first, bench.resident_bytes_last}},
              {"arms", arms}});
  standard_output() << all.dump(2) << "\n";
}

void print_rows(DecodeBench const& bench, DecodeBenchSettings const& settings, bool alone) {
  auto const batch = static_cast<double>(settings.batch);
  standard_output() << fmt::sprintf("%-14s %7s %12s %10s", "arm", "prompt", "step median", "tokens/s");
  if (!alone) standard_output() << fmt::sprintf(" %9s", "speedup");
  standard_output() << fmt::sprintf(" %9s %9s %12s %10s %10s %10s %7s\n", "MF/token", "GFLOP/s", "prompt tok/s", "KV/token", "predicted",
                                    "reserved", "blocks");
  for (DecodeBenchResult const& r : bench.results) {
    double const step = median(r.step_s);
    standard_output() << fmt::sprintf("%-14s %7lld %9.3f ms %10s", r.name.c_str(), static_cast<long long>(r.prompt), 1e3 * step,
                                      format_si(batch / step).c_str());
    if (!alone) standard_output() << fmt::sprintf(" %8.3fx", median(r.speedup));
    if (!is_peer(r))
      standard_output() << fmt::sprintf(
          " %9.4g %9.1f %12s %10s %10s %10s %7.2f", r.flops_per_token / 1e6, batch * r.flops_per_token / step / 1e9,
          format_si(static_cast<double>(r.prompt) / median(r.prompt_s)).c_str(), format_bytes(r.kv_bytes_per_token).c_str(),
          format_bytes(r.kv_predicted_per_token).c_str(), format_bytes(r.kv_reserved_per_token).c_str(), r.blocks_per_token);
    standard_output() << "\n";
  }
}

void print_column_meanings(DecodeBench const& bench, bool alone) {
  std::vector<ColumnMeaning> meanings{{"step median", "time to decode one token of every text; median of " +
                                                          std::to_string(bench.results.front().step_s.size()) + " rounds"}};
  if (!alone)
    meanings.push_back({"speedup", "step time of " + bench.results.front().name + " over this one's, median of the rounds' ratios"});
  meanings.insert(meanings.end(),
                  {{"MF/token", "10^6 floating-point operations to decode one token; only those of blocks that ran"},
                   {"prompt tok/s", "tokens a second while a prompt is read in one pass"},
                   {"KV/token", "bytes of keys and values stored for a token of the text, over all layers"},
                   {"predicted", "KV/token as the ledger counts it for the capacity that was realised"},
                   {"reserved", "KV/token with the places that the cache holds free: it takes memory for several tokens at once"},
                   {"blocks", "blocks of the model that a decoded token ran through, on average"}});
  print_meanings(meanings);
}

// How cost grows with the prompt, and what the machine did meanwhile.
void print_findings(DecodeBench const& bench) {
  standard_output() << "\n";
  for (DecodeBenchResult const& r : bench.results) {
    DecodeBenchResult const& from = shortest(bench, r.name);
    if (is_peer(r) || &from == &r) continue;
    Growth const g = growth(from, r);
    standard_output() << fmt::sprintf(
        "%s from a prompt of %lld to %lld: a token decoded takes %.2fx the time for %.2fx the FLOPs (%.2f), one of the prompt %.2fx for "
        "%.2fx (%.2f)\n",
        r.name.c_str(), static_cast<long long>(from.prompt), static_cast<long long>(r.prompt), g.step_time, g.step_flops,
        g.step_time / g.step_flops, g.prompt_time, g.prompt_flops, g.prompt_time / g.prompt_flops);
  }
  DecodeBenchResult const& first = bench.results.front();
  double const read = static_cast<double>(first.weight_bytes) / median(first.step_s);
  standard_output() << fmt::sprintf(
      "weights: a step of %s without routing reads %s of them, %.1f GB/s; reading as many bytes alone: %.1f GB/s (%.0f %%)\n",
      first.name.c_str(), format_bytes(static_cast<double>(first.weight_bytes)).c_str(), read / 1e9, bench.read_bytes_per_s / 1e9,
      100 * read / bench.read_bytes_per_s);
  standard_output() << fmt::sprintf(
      "resident memory: at most %s until the warm-up had ended, %s behind the first round, %s behind the last\n",
      format_bytes(static_cast<double>(bench.peak_bytes_warm)).c_str(),
      format_bytes(static_cast<double>(bench.resident_bytes_first)).c_str(),
      format_bytes(static_cast<double>(bench.resident_bytes_last)).c_str());
}

void print_table(DecodeBench const& bench, DecodeBenchSettings const& settings, BenchSubject const& subject) {
  bool const alone = subject.arms.size() + subject.peers.size() == 1;
  print_bench_head(subject);
  print_rows(bench, settings, alone);
  if (alone) print_alone(subject.arms.front());
  print_column_meanings(bench, alone);
  print_findings(bench);
}

DecodeSubject random_subject(Target const& target, DecodeBenchSettings const& settings, std::function<void(Config&)> const& place) {
  LoadedConfig loaded = load_experiment(target.path, target.overrides);
  place(loaded.config);
  int64_t const vocab_size = planned_vocab_size(loaded.config.tokenizer);
  at::Device const device = open_device(loaded.config.device);
  set_threads(loaded.config.train.threads);
  keep_freed_memory();
  use_huge_pages();
  DecodeSubject subject{{bench_arms(loaded, vocab_size), vocab_size, batch_text(settings), device, settings.peers, "random"}, {}, {}};
  for (BenchArm& arm : subject.head.arms) {
    arm.config.device = loaded.config.device;
    subject.arms.push_back(random_decode_arm(arm, vocab_size));
  }
  return subject;
}

DecodeSubject stored_subject(Target const& target, DecodeBenchSettings const& settings, std::function<void(Config&)> const& place) {
  use_huge_pages();
  StoredArm arm = open_stored_arm(target.path, target.overrides, place);
  keep_freed_memory();  // from here on: what loading has freed is given back
  std::string const weights = fmt::format("of {}, loaded in {:.2f} s; the text is random", target.path, arm.load_s);
  BenchSubject const head{{arm.subject}, arm.vocab_size, batch_text(settings), arm.decode.model->device(), settings.peers, weights};
  return {head, {std::move(arm.decode)}, arm.load_s};
}

void run_bench_decode(Target const& target, DecodeBenchSettings const& settings, bool json, Ranks& ranks, RankWatch& watch) {
  auto const place = [&](Config& config) { open_ranks(ranks, watch, config, expand_user(target.path)); };
  DecodeSubject const subject =
      names_weights(target.path, target.overrides) ? stored_subject(target, settings, place) : random_subject(target, settings, place);
  DecodeBench const bench = bench_decode(subject.arms, settings, ranks);
  if (!ranks.is_first()) return;
  json ? print_json(bench, settings, subject) : print_table(bench, settings, subject.head);
}

}  // namespace

void add_bench_decode(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("decode",
                           "Text token by token from the key-value cache, for the arms of CONFIG with random weights whose\n"
                           "decisions are calibrated, or for a model that has weights (checkpoint, run folder, .gguf, Hugging\n"
                           "Face folder): time, bytes of keys and values, and what the ledger says of both");
  auto const target = add_target(*command, "CONFIG", bench_config_help);
  auto const settings = std::make_shared<DecodeBenchSettings>();
  auto const json = std::make_shared<bool>(false);
  add_number(*command, &settings->batch, {.name = "--batch", .help = "Texts at a time", .min = 1, .max = 65536});
  add_number(*command, &settings->prompts,
             {.name = "--prompt",
              .help = "Tokens that each text begins with, read at once; several lengths: 128,2048",
              .kind = Kind::integer_list,
              .min = 1,
              .max = 1 << 24});
  add_number(*command, &settings->steps, {.name = "--steps", .help = "Tokens of each text, one by one", .min = 1, .max = 1 << 20});
  add_number(*command, &settings->repeats,
             {.name = "--repeats", .help = "Rounds over all arms; texts begin anew in each", .min = 1, .max = 100000});
  add_peers(*command, settings->peers, "scripts/peers/decode.py");
  command->add_flag("--json", *json, "Print JSON");
  std::shared_ptr<int64_t> const count = add_ranks_option(*command);
  command->callback([target, settings, json, count] {
    run_on_ranks(*count, [&](Ranks& ranks, RankWatch& watch) {
      run_bench_decode(*target, *settings, *json, ranks, watch);
      return 0;
    });
  });
}

}  // namespace isobath
